"""The real SDK against a misbehaving Vonage: one POST for each try, and the right verdict."""

import logging
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from bookings.gateways import Verdict
from bookings.gateways.vonage import VonageGateway
from tests.faults.conftest import KEY, SECRET, SMS, gateway_to


def test_good_send_is_accepted_with_vonages_fields(vonage, gateway):
    result = gateway.send(SMS)
    assert (result.verdict, result.reason, result.code) == (Verdict.ACCEPTED, "", "0")
    assert [part.message_id for part in result.parts] == list(vonage.posts[0].message_ids)
    assert (result.parts[0].price, result.parts[0].network) == ("0.03330000", "23410")
    assert result.balance == "15.53590000"
    assert [post.form for post in vonage.posts] == [
        {"from": SMS.sender, "to": SMS.to, "text": SMS.text, "client-ref": SMS.client_ref}
    ]


FAULTS = {
    "accept_then_close": Verdict.UNKNOWN,
    "accept_then_reset": Verdict.UNKNOWN,
    "half_headers": Verdict.UNKNOWN,
    "half_body": Verdict.UNKNOWN,
    "redirect_302": Verdict.UNKNOWN,
    "redirect_307": Verdict.UNKNOWN,
    "redirect_308": Verdict.UNKNOWN,
    "html200": Verdict.UNKNOWN,
    "empty200": Verdict.UNKNOWN,
    "count:2": Verdict.UNKNOWN,
    "huge": Verdict.UNKNOWN,
    "endless": Verdict.UNKNOWN,
    "status:77": Verdict.UNKNOWN,
    "404": Verdict.UNKNOWN,
    "408": Verdict.UNKNOWN,
    "html500": Verdict.UNKNOWN,
    "html502": Verdict.UNKNOWN,
    "html503": Verdict.UNKNOWN,
    "504": Verdict.UNKNOWN,
    "429": Verdict.THROTTLED,
    "status:1": Verdict.THROTTLED,
    "401": Verdict.ACCOUNT,
    "403": Verdict.ACCOUNT,
    "status:4": Verdict.ACCOUNT,
    "status:9": Verdict.ACCOUNT,
    "500": Verdict.PROVIDER_ERROR,
    "503": Verdict.PROVIDER_ERROR,
    "status:5": Verdict.PROVIDER_ERROR,
    "400": Verdict.REFUSED,
    "422": Verdict.REFUSED,
    "status:29": Verdict.REFUSED,
    "no_error_text": Verdict.REFUSED,
    "partial": Verdict.PARTIAL,
    "slow:0.3": Verdict.ACCEPTED,
    "drip": Verdict.ACCEPTED,
    "count:0": Verdict.ACCEPTED,
}


@pytest.mark.parametrize(("mode", "verdict"), FAULTS.items(), ids=FAULTS)
def test_each_fault_costs_one_post_and_has_its_verdict(mode, verdict, vonage, gateway):
    vonage.set_mode(mode)
    result = gateway.send(SMS)
    assert (result.verdict, vonage.count()) == (verdict, 1)
    assert (result.reason == "") is (verdict is Verdict.ACCEPTED)


@pytest.mark.parametrize("mode", FAULTS)
def test_after_any_fault_the_next_text_goes_out_as_usual(mode, vonage, gateway):
    vonage.set_mode(mode, times=1)
    gateway.send(SMS)
    assert gateway.send(replace(SMS, client_ref="msg-43-1")).verdict is Verdict.ACCEPTED
    assert (vonage.count("msg-42-1"), vonage.count("msg-43-1")) == (1, 1)


def test_a_connection_that_breaks_after_good_sends_is_not_tried_again(vonage, gateway):
    for mode in ("accept_then_close", "accept_then_reset", "half_headers", "half_body"):
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED
        vonage.posts.clear()
        vonage.set_mode(mode, times=1)
        assert (gateway.send(SMS).verdict, vonage.count()) == (Verdict.UNKNOWN, 1)


def test_hanging_vonage_is_abandoned_after_the_timeout(vonage):
    vonage.set_mode("hang")
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        began = time.monotonic()
        result = gateway.send(SMS)
    assert 0.9 < time.monotonic() - began < 3
    assert (result.verdict, vonage.count()) == (Verdict.UNKNOWN, 1)


@pytest.mark.parametrize("mode", ["drip_headers", "drip_body"])
def test_an_answer_that_drags_on_is_cut_off_though_its_bytes_keep_coming(mode, vonage):
    vonage.set_mode(mode, times=1)
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        assert gateway.send(SMS).verdict is Verdict.UNKNOWN
        assert gateway.send(replace(SMS, client_ref="msg-43-1")).verdict is Verdict.ACCEPTED
    assert [post.client_ref for post in vonage.posts] == [SMS.client_ref, "msg-43-1"]


def test_call_is_not_begun_when_connecting_takes_too_long(vonage, monkeypatch):
    """A frozen process may not send after the lease of its claim."""
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        gateway.send(SMS)
        passed = iter([0, 30])
        monkeypatch.setattr("bookings.gateways.vonage.monotonic", lambda: next(passed, 30))
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 1


@pytest.mark.parametrize("mode", ["huge", "endless"])
def test_oversized_answer_is_not_kept_in_memory(mode, vonage, gateway):
    gateway.send(SMS)
    vonage.set_mode(mode)
    tracemalloc.start()
    try:
        gateway.send(SMS)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_waits_that_vonage_asks_for_are_passed_on(vonage, gateway):
    vonage.set_mode("status:1")
    vonage.set_mode("429", times=1)
    waits = [gateway.send(SMS).retry_after for _ in range(2)]
    assert waits == [timedelta(seconds=2), timedelta(milliseconds=250)]


def test_sends_share_a_connection(vonage, gateway):
    for number in range(5):
        result = gateway.send(replace(SMS, client_ref=f"msg-{number}-1"))
        assert result.verdict is Verdict.ACCEPTED
    assert len({post.connection for post in vonage.posts}) == 1


def test_a_connection_that_was_idle_for_long_is_not_used_again(vonage, gateway):
    gateway.send(SMS)
    gateway._local.wire._used_at -= 60
    assert gateway.send(SMS).verdict is Verdict.ACCEPTED
    assert len({post.connection for post in vonage.posts}) == 2


def test_threads_do_not_mix_up_their_texts(vonage, gateway):
    texts = [replace(SMS, client_ref=f"msg-{n}-1", text=f"Acme: {n}") for n in range(60)]
    for mode in ("partial", "accept_then_close", "status:6"):
        vonage.set_mode(mode, times=10)
    with ThreadPoolExecutor(8) as threads:
        verdicts = [result.verdict for result in threads.map(gateway.send, texts)]
    sent = {(post.client_ref, post.form["text"]) for post in vonage.posts}
    assert sent == {(sms.client_ref, sms.text) for sms in texts}
    assert vonage.count() == 60
    assert {verdict: verdicts.count(verdict) for verdict in set(verdicts)} == {
        Verdict.ACCEPTED: 30,
        Verdict.PARTIAL: 10,
        Verdict.UNKNOWN: 10,
        Verdict.REFUSED: 10,
    }


@pytest.mark.parametrize(
    ("text", "is_unicode", "parts"),
    [
        ("Acme: €5 {ok}", False, 1),
        ("a" * 161, False, 2),
        ("Acme: Straße, café, Łódź", True, 1),
        ("📦" * 36, True, 2),
    ],
)
def test_a_text_arrives_as_written_and_as_unicode_only_if_it_must(
    text, is_unicode, parts, vonage, gateway
):
    result = gateway.send(replace(SMS, text=text, is_unicode=is_unicode))
    assert vonage.posts[0].form.get("type") == ("unicode" if is_unicode else None)
    assert vonage.posts[0].shown_text == text
    assert (result.verdict, len(result.parts)) == (Verdict.ACCEPTED, parts)


@pytest.mark.parametrize(
    ("ttl", "milliseconds"),
    [
        (None, None),
        (timedelta(0), "20000"),
        (timedelta(seconds=-5), "20000"),
        (timedelta(hours=1, microseconds=1), "3600000"),
        (timedelta(days=30), "259200000"),
    ],
)
def test_the_time_to_live_is_in_milliseconds_within_vonages_bounds(
    ttl, milliseconds, vonage, gateway
):
    assert gateway.send(replace(SMS, ttl=ttl)).verdict is Verdict.ACCEPTED
    assert vonage.posts[0].form.get("ttl") == milliseconds


@pytest.mark.parametrize("change", [{"text": "\ud83d"}, {"client_ref": "x" * 101}], ids=str)
def test_text_that_the_sdk_rejects_is_refused_and_not_sent(change, vonage, gateway):
    gateway.send(SMS)
    result = gateway.send(replace(SMS, **change))
    assert (result.verdict, vonage.count()) == (Verdict.REFUSED, 1)


def test_wrong_secret_is_an_account_error(vonage):
    with gateway_to(vonage.host, vonage.ca_file, secret="wrong") as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCOUNT


def test_secrets_are_neither_sent_nor_given_to_the_client(vonage, gateway):
    gateway.send(SMS)
    assert not {"api_key", "api_secret", "sig"} & set(vonage.posts[0].form)
    assert gateway._local.client.http_client.auth._signature_secret is None


@pytest.mark.parametrize("mode", ["ok", "401", "500", "status:6", "hang", "redirect_307"])
def test_no_log_shows_a_text_a_number_or_a_secret(mode, vonage, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    vonage.set_mode(mode)
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        result = gateway.send(SMS)
    shown = caplog.text + result.reason + result.code + repr(gateway)
    assert "POST /sms/json" in shown or mode == "hang"
    for private in (SMS.text, SMS.to, SECRET, vonage.authorization.removeprefix("Basic ")):
        assert private not in shown


@pytest.mark.parametrize("wrong", [{"api_key": ""}, {"api_secret": ""}, {"timeout": 0}], ids=str)
def test_gateway_with_unusable_settings_is_not_created(wrong):
    with pytest.raises(ValueError, match="Vonage needs"):
        VonageGateway(**({"api_key": KEY, "api_secret": SECRET} | wrong))


def test_a_closed_gateway_leaves_no_connection_open(vonage, gateway):
    gateway.send(SMS)
    assert vonage._server._open
    gateway.close()
    deadline = time.monotonic() + 5
    while vonage._server._open and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not vonage._server._open


def test_gateway_loads_the_sdk_only_when_it_sends():
    program = "import sys, bookings.gateways.vonage; sys.exit('vonage_sms' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

"""The real SDK against a Vonage that misbehaves: one POST a try, and the truth about it."""

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from bookings.gateways import OutgoingSMS, Verdict
from bookings.gateways.signature import METHODS, is_signed
from bookings.gateways.vonage import VonageGateway
from tests.fake_vonage import FakeVonage, post_inbound

KEY, SECRET = "abcd1234", "AbCdEf0123456789"
SMS = OutgoingSMS(
    to="447700900001",
    sender="447700900000",
    text="Acme: your delivery AB12 comes tomorrow.",
    client_ref="msg-42-1",
    is_unicode=False,
)


@pytest.fixture
def vonage():
    with FakeVonage(api_key=KEY, api_secret=SECRET) as fake:
        yield fake


@contextmanager
def gateway_to(host, ca_file=None, *, secret=SECRET, timeout=5):
    gateway = VonageGateway(
        api_key=KEY, api_secret=secret, rest_host=host, timeout=timeout, ca_bundle=ca_file
    )
    try:
        yield gateway
    finally:
        gateway.close()


@pytest.fixture
def gateway(vonage):
    with gateway_to(vonage.host, vonage.ca_file) as gateway:
        yield gateway


def test_a_good_send_is_accepted_with_all_that_vonage_said(vonage, gateway):
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


def test_a_vonage_that_hangs_is_left_after_the_time_out(vonage):
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


def test_what_takes_too_long_to_get_through_is_not_begun(vonage, monkeypatch):
    """As after a freeze: nothing may be written that the lease of its claim does not cover."""
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        gateway.send(SMS)
        passed = iter([0, 30])
        monkeypatch.setattr("bookings.gateways.vonage.monotonic", lambda: next(passed, 30))
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 1


@pytest.mark.parametrize("mode", ["huge", "endless"])
def test_no_more_is_kept_of_an_answer_than_vonage_ever_says(mode, vonage, gateway):
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


@contextmanager
def listener(answer):
    """A port where `answer` meets each connection, before any TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_a_port_that_refuses_means_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"localhost:{server.getsockname()[1]}"
    with gateway_to(host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_name_that_does_not_resolve_means_not_sent():
    with gateway_to("vonage.invalid") as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_tls_handshake_that_is_cut_off_means_not_sent():
    with listener(socket.socket.close) as host, gateway_to(host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_tls_handshake_that_hangs_means_not_sent_after_the_time_out():
    held: list[socket.socket] = []
    with listener(held.append) as host, gateway_to(host, timeout=1) as gateway:
        began = time.monotonic()
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
        assert time.monotonic() - began < 3
    for connection in held:
        connection.close()


def test_a_certificate_that_is_not_trusted_means_not_sent(vonage):
    with gateway_to(vonage.host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 0


def test_a_proxy_that_refuses_means_not_sent(vonage, monkeypatch):
    def refuse(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        connection.close()

    with listener(refuse) as proxy, gateway_to(vonage.host, vonage.ca_file) as gateway:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 0


def test_the_environments_authorities_count_unless_others_are_named(vonage, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", vonage.ca_file)
    with gateway_to(vonage.host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED
    with FakeVonage() as another, gateway_to(another.host, another.ca_file) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED


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
def test_what_the_sdk_will_not_take_is_refused_and_not_sent(change, vonage, gateway):
    gateway.send(SMS)
    result = gateway.send(replace(SMS, **change))
    assert (result.verdict, vonage.count()) == (Verdict.REFUSED, 1)


def test_an_address_that_is_none_means_not_sent():
    with gateway_to("vonage..example:x") as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_wrong_secret_is_the_accounts_fault(vonage):
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
def test_a_gateway_that_could_not_work_is_not_made(wrong):
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


def test_the_gateway_is_light_until_it_sends():
    program = "import sys, bookings.gateways.vonage; sys.exit('vonage_sms' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_vonage_also_runs_as_a_process_of_its_own():
    command = [sys.executable, "-m", "tests.fake_vonage", "--mode", "status:6"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        fake = json.loads(process.stdout.readline())
        url, ca_file = f"https://{fake['host']}", fake["ca_file"]
        with gateway_to(fake["host"], ca_file) as gateway:
            assert gateway.send(SMS).verdict is Verdict.REFUSED
            requests.post(f"{url}/mode", {"mode": "429", "times": 1}, verify=ca_file, timeout=5)
            assert gateway.send(SMS).verdict is Verdict.THROTTLED
            assert gateway.send(SMS).verdict is Verdict.REFUSED
        posts = requests.get(f"{url}/posts", verify=ca_file, timeout=5).json()
        process.send_signal(signal.SIGTERM)
    assert [post["form"]["client-ref"] for post in posts] == [SMS.client_ref] * 3
    assert process.returncode == 0


@pytest.mark.parametrize("sent", [0, 20], ids=["before the body", "within it"])
def test_the_fake_takes_nothing_of_a_sender_that_dies_before_the_end(sent, vonage):
    body = urlencode({"from": SMS.sender, "to": SMS.to, "text": SMS.text}).encode()
    head = f"POST /sms/json HTTP/1.1\r\nHost: {vonage.host}\r\nContent-Length: {len(body)}\r\n\r\n"
    name, _, port = vonage.host.partition(":")
    tls = ssl.create_default_context(cafile=vonage.ca_file)
    with (
        socket.create_connection((name, int(port)), timeout=5) as plain,
        tls.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(head.encode() + body[:sent])
        os.close(connection.detach())  # without a word, as the kernel does it for who is killed
    with gateway_to(vonage.host, vonage.ca_file) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED
    assert [post.client_ref for post in vonage.posts] == [SMS.client_ref]


@contextmanager
def webhook():
    """A server that takes webhooks; yields its base URL and the list of (path, fields)."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            fields = json.loads(body) if is_json else dict(parse_qsl(url.query or body))
            taken.append((url.path, fields))
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["json", "form", "get"])
def test_inbound_texts_of_the_fake_are_signed_as_we_check(form, method):
    with webhook() as (base_url, taken):
        status = post_inbound(
            base_url,
            msisdn=SMS.to,
            to=SMS.sender,
            text="2 & a=b é",
            sent_as=form,
            secret=SECRET,
            method=method,
            token="t",
            concat_ref="9",
            keyword=None,
        )
    path, fields = taken[0]
    assert (status, path) == (200, "/webhooks/t/inbound-sms")
    assert is_signed(fields, [SECRET], method)
    assert not is_signed(fields, ["another"], method)
    assert (fields["text"], fields["concat-ref"]) == ("2 & a=b é", "9")
    assert "keyword" not in fields


@pytest.mark.parametrize("delay", [0, 0.01], ids=["before the answer", "after it"])
def test_the_fake_reports_each_part_it_took(delay):
    with (
        webhook() as (base_url, taken),
        FakeVonage(receipts_to=base_url, receipt_delay=delay, webhook={"secret": SECRET}) as vonage,
        gateway_to(vonage.host, vonage.ca_file) as gateway,
    ):
        result = gateway.send(replace(SMS, text="a" * 161))
        deadline = time.monotonic() + 5
        while len(vonage.receipt_statuses) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert vonage.receipt_statuses == [200, 200]
    assert {path for path, _ in taken} == {"/webhooks/delivery-receipt"}
    assert {fields["messageId"] for _, fields in taken} == {p.message_id for p in result.parts}
    for _, fields in taken:
        assert is_signed(fields, [SECRET], "sha256")
        assert (fields["msisdn"], fields["to"]) == (SMS.to, SMS.sender)
        assert (fields["client-ref"], fields["status"]) == (SMS.client_ref, "delivered")

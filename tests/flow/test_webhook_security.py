"""Who may speak to the two webhooks, and what everyone else gets: a status, and nothing else."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.test import Client

from bookings.gateways.signature import METHODS, sign
from bookings.models import DeliveryReceipt, InboundMessage
from bookings.webhooks import alarm, views
from bookings.webhooks.alarm import RefusalAlarm

PAYLOADS = Path(__file__).parent.parent / "payloads" / "vonage"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
SECRET, NEXT_SECRET, TOKEN = "first-" * 6, "next-" * 6, "a-long-random-word"


@dataclass(frozen=True)
class Webhook:
    name: str
    payload: str
    model: Any
    max_age: timedelta

    @property
    def fields(self) -> dict[str, str]:
        path = PAYLOADS / f"{self.payload}.json"
        fields: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return fields

    def url(self, token=None) -> str:
        return f"/webhooks/{token}/{self.name}" if token else f"/webhooks/{self.name}"

    def stored(self) -> int:
        count: int = self.model.objects.count()
        return count


WEBHOOKS = [
    Webhook("inbound-sms", "inbound_text", InboundMessage, timedelta(hours=25)),
    Webhook("delivery-receipt", "receipt_delivered", DeliveryReceipt, timedelta(hours=73)),
]
WAYS = ["GET", "form", "JSON"]

pytestmark = pytest.mark.django_db


@pytest.fixture(params=WEBHOOKS, ids=lambda webhook: webhook.name)
def webhook(request):
    return request.param


@pytest.fixture
def client():
    return Client(enforce_csrf_checks=True)


@pytest.fixture(autouse=True)
def nothing_was_refused_before(monkeypatch):
    monkeypatch.setattr(views, "refusals", RefusalAlarm())


@pytest.fixture
def configure(settings):
    def configure(*, secrets=(), token="", method="sha256"):
        settings.VONAGE_SIGNATURE_SECRETS = list(secrets)
        settings.WEBHOOK_TOKEN = token
        settings.VONAGE_SIGNATURE_METHOD = method

    configure(secrets=[SECRET])
    return configure


@pytest.fixture
def send(client, configure):
    """Sends fields a minute after they say they were sent."""

    def send(webhook, fields, *, token=None, way="JSON", after=timedelta(minutes=1)):
        now = int(webhook.fields["timestamp"]) + after.total_seconds()
        url = webhook.url(token)
        with time_machine.travel(now, tick=False):
            match way:
                case "GET":
                    return client.get(f"{url}?{urlencode(fields)}")
                case "form":
                    return client.post(url, urlencode(fields), content_type=FORM)
                case _:
                    return client.post(url, json.dumps(fields), content_type=JSON)

    return send


def signed(fields, secret=SECRET, method="sha256"):
    return fields | {"sig": sign(fields, secret, method)}


def without(fields, key):
    return {name: value for name, value in fields.items() if name != key}


SIGNATURE = {"secrets": [SECRET]}
ROTATION = {"secrets": [SECRET, NEXT_SECRET]}
PATH_TOKEN = {"token": TOKEN}
BOTH = {"secrets": [SECRET], "token": TOKEN}
NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Case:
    config: dict[str, Any]
    make: Callable[[dict[str, str]], dict[str, Any]]
    token: str | None = None  # in the path


FORGERIES = {
    "no signature": Case(SIGNATURE, dict),
    "empty signature": Case(SIGNATURE, lambda fields: fields | {"sig": ""}),
    "wrong signature": Case(SIGNATURE, lambda fields: fields | {"sig": "0" * 64}),
    "10 kB of signature": Case(SIGNATURE, lambda fields: fields | {"sig": "0" * 10_000}),
    "signature beyond ASCII": Case(SIGNATURE, lambda fields: fields | {"sig": "é" * 64}),
    "half an emoji": Case(SIGNATURE, lambda fields: fields | {"sig": "\ud83d", "x": "\ude00"}),
    "a number": Case(SIGNATURE, lambda fields: fields | {"sig": 0}),
    "signature with a space": Case(SIGNATURE, lambda f: f | {"sig": signed(f)["sig"] + " "}),
    "changed field": Case(SIGNATURE, lambda fields: signed(fields) | {"messageId": "0A"}),
    "added field": Case(SIGNATURE, lambda fields: signed(fields) | {"x": "1"}),
    "removed field": Case(SIGNATURE, lambda fields: without(signed(fields), "to")),
    "wrong method": Case(SIGNATURE, lambda fields: signed(fields, method="sha512")),
    "unkeyed method": Case(SIGNATURE, lambda fields: signed(fields, method="md5hash")),
    "another's secret": Case(SIGNATURE, lambda fields: signed(fields, "another's")),
    "next secret too early": Case(SIGNATURE, lambda fields: signed(fields, NEXT_SECRET)),
    "old secret after rotation": Case(ROTATION, lambda fields: signed(fields, "old")),
    "the token instead of a signature": Case(SIGNATURE, dict, TOKEN),
    "empty secret configured": Case({"secrets": [""]}, lambda fields: signed(fields, "")),
    "no token": Case(PATH_TOKEN, dict),
    "wrong token": Case(PATH_TOKEN, dict, "another-word"),
    "half the token": Case(PATH_TOKEN, dict, TOKEN[:9]),
    "token in capitals": Case(PATH_TOKEN, dict, TOKEN.upper()),
    "token beyond ASCII": Case(PATH_TOKEN, dict, "é" * len(TOKEN)),
    "token as a field": Case(PATH_TOKEN, lambda fields: fields | {"token": TOKEN}),
    "signature instead of the token": Case(PATH_TOKEN, signed),
    "both asked, token alone": Case(BOTH, dict, TOKEN),
    "both asked, signature alone": Case(BOTH, signed),
    "both asked, wrong token": Case(BOTH, signed, "another-word"),
    "both asked, wrong signature": Case(BOTH, lambda fields: fields | {"sig": "0" * 64}, TOKEN),
    "nothing configured": Case(NOTHING, dict),
    "nothing configured, signed with nothing": Case(NOTHING, lambda f: signed(f, "")),
    "nothing configured, a token": Case(NOTHING, dict, TOKEN),
}

PROOFS = {
    "signature": Case(SIGNATURE, signed),
    "signature in capitals": Case(
        SIGNATURE, lambda fields: fields | {"sig": signed(fields)["sig"].upper()}
    ),
    "first secret in rotation": Case(ROTATION, signed),
    "second secret in rotation": Case(ROTATION, lambda fields: signed(fields, NEXT_SECRET)),
    "signature, no timestamp": Case(SIGNATURE, lambda f: signed(without(f, "timestamp"))),
    "signature, at a path of old": Case(SIGNATURE, signed, "a-token-given-up"),
    "token": Case(PATH_TOKEN, dict, TOKEN),
    "token, and a signature nobody asked for": Case(PATH_TOKEN, signed, TOKEN),
    "both": Case(BOTH, signed, TOKEN),
} | {
    f"signature by {method}": Case(
        {"secrets": [SECRET], "method": method}, functools.partial(signed, method=method)
    )
    for method in METHODS
}


def is_silent(response) -> bool:
    return bool(response.content == b"" and response["Cache-Control"] == "no-store")


@pytest.mark.parametrize("case", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_request_is_refused_before_any_query(
    webhook, send, configure, django_assert_num_queries, case
):
    configure(**case.config)

    with django_assert_num_queries(0):
        response = send(webhook, case.make(webhook.fields), token=case.token)

    assert response.status_code == 401
    assert is_silent(response)


def test_debugging_lets_nobody_in(webhook, send, configure, settings):
    configure()
    settings.DEBUG = True

    assert send(webhook, webhook.fields).status_code == 401


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", PROOFS.values(), ids=PROOFS)
def test_a_proven_request_is_stored(webhook, send, configure, case, way):
    configure(**case.config)

    response = send(webhook, case.make(webhook.fields), token=case.token, way=way)

    assert response.status_code == 200
    assert is_silent(response)
    assert webhook.stored() == 1


def test_the_three_ways_of_sending_are_one_message(webhook, send):
    for way in WAYS:
        assert send(webhook, signed(webhook.fields), way=way).status_code == 200

    assert webhook.stored() == 1


def test_a_replay_inside_the_window_changes_nothing(webhook, send):
    for hours in (0, 1, 24):
        response = send(webhook, signed(webhook.fields), after=timedelta(hours=hours))
        assert response.status_code == 200

    assert webhook.stored() == 1


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 401)])
def test_a_signature_is_good_for_as_long_as_vonage_repeats_it(webhook, send, beyond, status):
    after = webhook.max_age + timedelta(seconds=beyond)

    assert send(webhook, signed(webhook.fields), after=after).status_code == status
    assert webhook.stored() == (status == 200)


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 401)])
def test_a_signature_from_the_future_is_good_for_five_minutes(webhook, send, beyond, status):
    after = -timedelta(minutes=5, seconds=beyond)

    assert send(webhook, signed(webhook.fields), after=after).status_code == status
    assert webhook.stored() == (status == 200)


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "-1", "1e9", " 1714996800", "9" * 4000, "٣"],
    ids=["empty", "word", "negative", "float", "space", "endless", "Arabic digit"],
)
def test_a_signed_timestamp_that_is_no_moment_is_refused(webhook, send, timestamp):
    fields = webhook.fields | {"timestamp": timestamp}

    assert send(webhook, signed(fields)).status_code == 401


def test_the_token_alone_does_not_ask_how_old_a_request_is(webhook, send, configure):
    configure(token=TOKEN)
    response = send(webhook, webhook.fields, token=TOKEN, after=timedelta(days=30))

    assert response.status_code == 200


# Probes


@pytest.mark.parametrize(
    "config",
    [SIGNATURE, PATH_TOKEN, BOTH, NOTHING],
    ids=["signature", "token", "both", "nothing"],
)
def test_a_bare_request_is_answered_and_does_nothing(
    webhook, client, configure, django_assert_num_queries, config
):
    configure(**config)

    for token in (None, TOKEN, "another-word"):
        url = webhook.url(token)
        with django_assert_num_queries(0):
            responses = [
                client.get(url),
                client.get(url + "/"),
                client.head(url),
                client.post(url),
                client.post(url + "/"),
                client.post(url, b"", content_type=FORM),
                client.post(url, b"{}", content_type=JSON),
            ]
        assert {response.status_code for response in responses} == {200}
        assert all(is_silent(response) for response in responses)


def test_a_trailing_slash_makes_no_difference(webhook, client, configure):
    configure(token=TOKEN)
    body = json.dumps(webhook.fields)

    for slash in ("", "/"):
        response = client.post(webhook.url(TOKEN) + slash, body, content_type=JSON)
        assert response.status_code == 200
    assert webhook.stored() == 1


# Odd requests, by someone who has the secret


def test_a_field_hidden_in_the_key_of_another_is_refused(webhook, send):
    fields = signed(webhook.fields)
    moment, message_id = fields.pop("message-timestamp"), fields.pop("messageId")
    smuggled = fields | {f"message-timestamp={moment}&messageId": message_id}

    for way in WAYS:
        assert send(webhook, smuggled, way=way).status_code == 400
    assert webhook.stored() == 0


def test_fields_in_query_and_body_together_are_refused(webhook, client, configure):
    query = urlencode(signed(webhook.fields))

    for body in (b"", b"x=1", query.encode()):
        response = client.post(f"{webhook.url()}?{query}", body, content_type=FORM)
        assert response.status_code == 400
    assert client.generic("GET", f"{webhook.url()}?{query}", b"x=1", FORM).status_code == 400


HOSTILE = {
    "huge": (b'{"text": "' + b"x" * 200_000 + b'"}', JSON, 413),
    "deep": (b"[" * 10_000, JSON, 400),
    "NaN": (b'{"text": NaN}', JSON, 400),
    "repeated key": (b'{"text": "1", "text": "2"}', JSON, 400),
    "not UTF-8": (b"text=%ff", FORM, 400),
    "XML": (b"<text>1</text>", "application/xml", 415),
    "multipart": (b"--x\r\n", "multipart/form-data; boundary=x", 400),
}


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused_before_any_query(
    webhook, client, django_assert_num_queries, case
):
    body, content_type, status = case

    with django_assert_num_queries(0):
        response = client.generic("POST", webhook.url(), body, content_type)

    assert response.status_code == status
    assert is_silent(response)


@pytest.mark.parametrize("key", ["messageId", "msisdn", "to", "text"])
def test_a_signed_sms_without_a_required_field_is_refused(send, key):
    inbound = WEBHOOKS[0]

    assert send(inbound, signed(without(inbound.fields, key))).status_code == 400
    assert inbound.stored() == 0


@pytest.mark.parametrize("missing", [["status"], ["messageId", "client-ref"]], ids=str)
def test_a_signed_receipt_without_a_required_field_is_refused(send, missing):
    receipt = WEBHOOKS[1]
    fields = receipt.fields
    for key in missing:
        fields = without(fields, key)

    assert send(receipt, signed(fields)).status_code == 400
    assert receipt.stored() == 0


@pytest.mark.parametrize(
    "value",
    ["a\x00b", "\ud83d", "👨‍👩‍👧\u202e", "x" * 1500],
    ids=["NUL", "half an emoji", "emoji and override", "long"],
)
def test_odd_characters_are_stored_whatever_field_they_come_in(webhook, send, value):
    odd = ["text", "type", "keyword", "price", "scts", "err-code", "network-code", "concat-ref"]
    fields = webhook.fields | dict.fromkeys(odd, value)

    assert send(webhook, signed(fields)).status_code == 200
    webhook.model.objects.get().clean_fields()  # fits its columns, on SQLite too


@pytest.mark.parametrize("key", ["messageId", "msisdn", "to"])
def test_the_longest_sms_that_is_taken_fits_its_columns(send, key):
    inbound = WEBHOOKS[0]
    longest = {"messageId": 100, "msisdn": 40, "to": 40}[key]

    fields = inbound.fields | {key: "9" * (longest + 1)}
    assert send(inbound, signed(fields)).status_code == 400
    assert send(inbound, signed(fields | {key: "9" * longest})).status_code == 200
    inbound.model.objects.get().clean_fields()


@pytest.mark.parametrize("key", ["messageId", "client-ref", "status"])
def test_the_longest_receipt_that_is_taken_fits_its_columns(send, key):
    receipt = WEBHOOKS[1]
    longest = {"messageId": 100, "client-ref": 100, "status": 40}[key]

    fields = receipt.fields | {key: "9" * (longest + 1)}
    assert send(receipt, signed(fields)).status_code == 400
    assert send(receipt, signed(fields | {key: "9" * longest})).status_code == 200
    receipt.model.objects.get().clean_fields()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(webhook, client, method):
    response = client.generic(method, webhook.url())

    assert response.status_code == 405
    assert is_silent(response)


# The alarm


def refuse(webhook, send, times, after=timedelta(minutes=1)):
    for _ in range(times):
        assert send(webhook, webhook.fields | {"sig": "0" * 64}, after=after).status_code == 401


def alarms(caplog):
    return [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_burst_of_refused_signatures_raises_one_alarm_that_says_what_to_check(
    webhook, send, caplog
):
    refuse(webhook, send, alarm.MOST)
    assert not alarms(caplog)
    refuse(webhook, send, 5)
    [record] = alarms(caplog)
    assert record.name == "bookings.webhooks.views"
    assert "rotated" in record.getMessage()
    assert "VONAGE_SIGNATURE_SECRETS" in record.getMessage()


def test_the_alarm_is_raised_again_after_ten_minutes_if_it_goes_on(webhook, send, caplog):
    minutes = functools.partial(timedelta, minutes=1)
    refuse(webhook, send, 30, after=minutes(seconds=0))
    refuse(webhook, send, 30, after=minutes(seconds=599))
    assert len(alarms(caplog)) == 1
    refuse(webhook, send, 1, after=minutes(seconds=600))
    assert len(alarms(caplog)) == 2


def test_so_many_refused_in_a_longer_time_are_no_alarm(webhook, send, caplog):
    for minute in range(30):
        refuse(webhook, send, 1, after=timedelta(minutes=minute, seconds=minute))
    assert not alarms(caplog)


def test_malformed_requests_by_who_has_the_secret_are_no_alarm(webhook, send, caplog):
    for _ in range(20):
        assert send(webhook, signed({"timestamp": webhook.fields["timestamp"]})).status_code == 400
    assert not alarms(caplog)


# Our own faults


@pytest.mark.parametrize("fault", [OperationalError, InterfaceError, InternalError])
def test_a_database_fault_asks_vonage_to_send_it_again(webhook, send, fault):
    def away(*_args):
        raise fault("the database is away")

    with connection.execute_wrapper(away):
        response = send(webhook, signed(webhook.fields))
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert is_silent(response)
    assert webhook.stored() == 0

    assert send(webhook, signed(webhook.fields)).status_code == 200
    assert webhook.stored() == 1


def test_a_refusal_is_logged_once_without_token_number_or_text(webhook, send, configure, caplog):
    configure(**BOTH)
    fields = webhook.fields | {"text": "my secret words"}

    send(webhook, fields, token=TOKEN)

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "wrong signature" in record.getMessage()
    for private in (TOKEN, SECRET, fields["msisdn"], "secret words"):
        assert private not in caplog.text

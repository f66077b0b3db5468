"""Probes, and odd requests by someone who has the secret."""

import json
from urllib.parse import urlencode

import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection

from tests.flow.webhooks.conftest import (
    BOTH,
    FORM,
    JSON,
    NOTHING,
    PATH_TOKEN,
    SIGNATURE,
    TOKEN,
    WAYS,
    WEBHOOKS,
    is_silent,
    signed,
    without,
)

pytestmark = pytest.mark.django_db


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
def test_odd_characters_are_stored_in_any_field(webhook, send, value):
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

"""The database is locked, full, away or slow: 503, "send it again", and never half an effect."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.conf import settings as django_settings
from django.db import DataError, connection
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import Booking, DeliveryReceipt, InboundMessage, OutboundMessage, Outcome
from bookings.webhooks import deadline
from tests.factories import NotificationFactory, SendAttemptFactory
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db(transaction=True)

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="how SQLite is filled")
only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite waits once, and is always there"
)


def post(webhook, fields):
    fields = fields | {"sig": sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")}
    return Client(raise_request_exception=False).post(
        f"/webhooks/{webhook}", json.dumps(fields), content_type="application/json"
    )


def post_reply(asked, **fields):
    values = {"msisdn": asked.msisdn, "to": VIRTUAL_NUMBER, "messageId": "0C01", "text": "2"}
    return post("inbound-sms", values | fields)


def assert_asked_again_and_nothing_done(response, asked):
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert not InboundMessage.objects.exists()
    assert not OutboundMessage.objects.exists()
    assert Booking.objects.get().slot == asked.slot


def assert_done_once(response):
    assert response.status_code == 200
    assert InboundMessage.objects.get().outcome == Outcome.MOVED
    assert Booking.objects.get().slot_changes.count() == 1
    assert OutboundMessage.objects.count() == 1


@contextmanager
def held(table):
    """Somebody else's transaction has locked the rows of a table; on SQLite, the database. We wait a moment for it."""
    impatient, patient = {
        "sqlite": ("PRAGMA busy_timeout = 50", "PRAGMA busy_timeout = 4000"),
        "postgresql": ("SET lock_timeout = 50", "RESET lock_timeout"),
    }[connection.vendor]
    other = connection.copy()
    with connection.cursor() as ours, other.cursor() as theirs:
        theirs.execute("BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "BEGIN")
        if connection.vendor == "postgresql":
            theirs.execute(f"SELECT 1 FROM {table} FOR UPDATE")  # noqa: S608  a table of ours
        ours.execute(impatient)
        try:
            yield
        finally:
            ours.execute(patient)
            theirs.execute("ROLLBACK")
            other.close()


@contextmanager
def nobody_answers(monkeypatch):
    """Whoever connects now finds no server: the address is one that all threads share."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        away.setitem(connection.settings_dict, "PORT", str(port))
        yield


@pytest.mark.parametrize("table", ["notification", "booking", "slot"])
def test_a_reply_that_waits_for_a_held_lock_is_asked_for_again(table):
    asked = NotificationFactory.create()
    with held(f"bookings_{table}"):
        response = post_reply(asked)
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


def test_a_receipt_that_waits_for_a_held_lock_is_asked_for_again():
    attempt = SendAttemptFactory.create()
    receipt = {"messageId": "0A01", "status": "delivered", "client-ref": attempt.client_ref}
    with held("bookings_outboundmessage"):
        response = post("delivery-receipt", receipt)
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert not DeliveryReceipt.objects.exists()
    assert post("delivery-receipt", receipt).status_code == 200
    assert DeliveryReceipt.objects.get().attempt == attempt


@only_sqlite
def test_a_reply_that_finds_the_disk_full_is_asked_for_again():
    asked = NotificationFactory.create()
    long = {"text": "please " * 1000}
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA max_page_count = 1")  # no more than there are
        response = post_reply(asked, **long)
        cursor.execute("PRAGMA max_page_count = 1000000")
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


@only_postgresql
def test_a_reply_that_gets_no_connection_is_asked_for_again(monkeypatch):
    asked = NotificationFactory.create()
    with nobody_answers(monkeypatch), ThreadPoolExecutor(1) as threads:
        response = threads.submit(post_reply, asked).result()
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


@only_postgresql
def test_a_reply_does_not_begin_to_wait_when_the_gateway_would_give_up(monkeypatch):
    asked = NotificationFactory.create()
    with monkeypatch.context() as slow:
        slow.setattr(deadline, "LAST_START", 0.0)
        response = post_reply(asked)
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


def test_a_value_that_the_database_refuses_is_a_bug_of_ours_and_no_reason_to_send_it_again():
    asked = NotificationFactory.create()

    def refuse(execute, sql, *rest):
        if sql.startswith("INSERT") and "bookings_slotchange" in sql:
            raise DataError("value out of range")
        return execute(sql, *rest)

    with connection.execute_wrapper(refuse):
        response = post_reply(asked)
    assert response.status_code == 200
    assert InboundMessage.objects.get().outcome == Outcome.ERROR
    assert Booking.objects.get().slot == asked.slot
    assert not OutboundMessage.objects.exists()

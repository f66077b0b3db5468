"""A locked, full, absent or slow database: the webhook answers 503 and changes nothing."""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.conf import settings as django_settings
from django.db import DataError, connection
from django.db.backends.signals import connection_created
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import Booking, DeliveryReceipt, InboundMessage, OutboundMessage, Outcome
from bookings.web import health
from bookings.web.webhooks import deadline
from delivery_sms.sqlite3.turns import writing
from tests.factories import NotificationFactory, SendAttemptFactory
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="how SQLite is filled")
only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite waits once, and is always there"
)


def post(webhook, fields, **environ):
    fields = fields | {"sig": sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")}
    return Client(raise_request_exception=False).post(
        f"/webhooks/{webhook}", json.dumps(fields), content_type="application/json", **environ
    )


def post_reply(asked, *, arrived_at=None, passed_on=None, **fields):
    values = {"msisdn": asked.msisdn, "to": VIRTUAL_NUMBER, "messageId": "0C01", "text": "2"}
    environ = {deadline.ARRIVED_AT: arrived_at} if arrived_at else {}
    environ |= {"HTTP_X_REQUEST_START": passed_on} if passed_on else {}
    return post("inbound-sms", values | fields, **environ)


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


@pytest.fixture(autouse=True)
def _nothing_is_known_of_the_database():
    deadline._Postgresql.stuck_until = 0.0
    yield
    deadline._Postgresql.stuck_until = 0.0


@contextmanager
def held(table):
    """Lock a table's rows (on SQLite the database) in another transaction, and shorten the lock timeout."""
    is_sqlite = connection.vendor == "sqlite"
    other = connection.copy()
    with pytest.MonkeyPatch.context() as impatient, other.cursor() as theirs:
        theirs.execute("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
        if is_sqlite:
            impatient.setattr(deadline, "LAST_TURN", 0.05)
        else:
            theirs.execute(f"SELECT 1 FROM {table} FOR UPDATE")  # noqa: S608  a table of ours
            set_lock_timeout("50")
        try:
            yield
        finally:
            if not is_sqlite:
                set_lock_timeout("DEFAULT")
            theirs.execute("ROLLBACK")
            other.close()


def set_lock_timeout(value):
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout TO {value}")


@contextmanager
def unreachable_server(monkeypatch):
    """Point all threads' connections at an address without a server."""
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
    with unreachable_server(monkeypatch), ThreadPoolExecutor(1) as threads:
        response = threads.submit(post_reply, asked).result()
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


@only_postgresql
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="what Linux calls it")
def test_a_network_that_falls_silent_is_given_up_on():
    """Without limits each thread would wait 15 minutes for the answer to its last packet, or 2 hours for a late one."""
    with (
        connection.cursor() as cursor,
        socket.socket(fileno=os.dup(cursor.connection.fileno())) as ours,
    ):
        if ours.family == socket.AF_UNIX:
            pytest.skip("no network: the server is reached through a file")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2


def test_reply_queued_behind_a_stuck_database_is_asked_for_again():
    """Otherwise it would wait twice: for a thread, and then for the database."""
    asked = NotificationFactory.create()
    long_ago = time.monotonic() - 4
    with held("bookings_slot"):
        post_reply(asked)
    response = post_reply(asked, arrived_at=long_ago)
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked, arrived_at=time.monotonic()))


@only_postgresql
@pytest.mark.parametrize("heals", ["by itself", "by a reply that is served"])
def test_reply_queued_behind_other_requests_is_carried_out(heals, monkeypatch):
    """A late request does not mark a recovered database as stuck."""
    asked = NotificationFactory.create()
    long_ago = time.monotonic() - 4
    with held("bookings_slot"):
        post_reply(asked)
    if heals == "by itself":
        monkeypatch.setattr(deadline, "monotonic", lambda: time.monotonic() + deadline.STUCK)
        assert_done_once(post_reply(asked, arrived_at=long_ago))
    else:
        assert_done_once(post_reply(asked, arrived_at=time.monotonic()))
        assert post_reply(asked, messageId="0C02", text="1", arrived_at=long_ago).status_code == 200


@only_postgresql
def test_requests_refused_without_the_database_do_not_count_as_stuck():
    asked = NotificationFactory.create()
    with held("bookings_slot"):
        post_reply(asked)
    stuck_until = deadline._Postgresql.stuck_until
    assert post_reply(asked, arrived_at=time.monotonic() - 4).status_code == 503
    assert deadline._Postgresql.stuck_until == stuck_until > 0


@pytest.fixture
def _awake():
    """End the cut-off session afterwards: the server is not told of the cut, and the session sleeps on."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query = 'SELECT pg_sleep(30)'"
        )


def says_nothing(execute, sql, *rest):
    """Let PostgreSQL sleep from a reply's first INSERT on, without its own time limit."""
    if sql.startswith("INSERT"):
        execute("SET statement_timeout TO 0", (), *rest[1:])
        execute("SELECT pg_sleep(30)", (), *rest[1:])
    return execute(sql, *rest)


@only_postgresql
@pytest.mark.usefixtures("_awake")
def test_a_reply_is_cut_off_from_a_server_that_says_nothing(monkeypatch):
    """It does not reconnect, because it would have to wait for that."""
    asked = NotificationFactory.create()
    opened = []
    with connection.execute_wrapper(says_nothing), monkeypatch.context() as impatient:
        impatient.setattr(deadline, "CUT_AFTER", 0.3)
        impatient.setattr(connection_created, "send", lambda **told: opened.append(told))
        began_at = time.monotonic()
        response = post_reply(asked)
        assert time.monotonic() - began_at < 20
    assert not opened
    assert_asked_again_and_nothing_done(response, asked)
    behind = post_reply(asked, arrived_at=began_at - 4)
    assert_asked_again_and_nothing_done(behind, asked)
    assert_done_once(post_reply(asked))


@only_postgresql
def test_a_reply_that_is_done_in_time_leaves_the_connection_to_the_next(monkeypatch):
    asked = NotificationFactory.create()
    with monkeypatch.context() as impatient:
        impatient.setattr(deadline, "CUT_AFTER", 1.0)
        assert_done_once(post_reply(asked))
        time.sleep(1.2)
    assert Booking.objects.count() == 1


@only_postgresql
@pytest.mark.usefixtures("_awake")
def test_readiness_is_not_waited_for_either(monkeypatch):
    def sleep(execute, sql, *rest):
        return execute("SELECT pg_sleep(30)", (), *rest[1:])

    monkeypatch.setattr(health, "MOST_SECONDS", 0.3)
    with connection.execute_wrapper(sleep):
        response = Client().get("/readyz")
    connection.close()  # as at the end of a request
    assert (response.status_code, response.json()) == (503, {"database": "unreachable"})


@only_postgresql
@pytest.mark.parametrize(
    ("is_proxied", "waited", "status"),
    [(True, 4, 503), (True, 0, 200), (True, -4, 200), (False, 4, 200), (True, None, 200)],
)
def test_a_proxy_may_say_since_when_a_reply_waits(is_proxied, waited, status, settings):
    """The header serves web servers that do not report the arrival time."""
    asked = NotificationFactory.create()
    settings.BEHIND_PROXY = is_proxied
    with held("bookings_slot"):
        post_reply(asked)
    stamp = "yesterday" if waited is None else f"{time.time() - waited:.3f}"
    assert post_reply(asked, passed_on=stamp).status_code == status


@only_sqlite
def test_replies_take_turns_at_sqlite(monkeypatch):
    """SQLite's own waiters overtake one another until the last of them gives up."""
    asked = NotificationFactory.create()
    somebody = object()
    with monkeypatch.context() as impatient:
        impatient.setattr(deadline, "LAST_TURN", 0.05)
        assert writing.take(somebody, seconds=0)
        try:
            response = post_reply(asked)
        finally:
            writing.give(somebody)
    assert_asked_again_and_nothing_done(response, asked)
    assert_done_once(post_reply(asked))


@only_sqlite
def test_a_reply_waits_for_sqlite_only_as_long_as_is_left():
    asked = NotificationFactory.create()
    assert_done_once(post_reply(asked, arrived_at=time.monotonic() - 1))
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert 0 < cursor.fetchone()[0] <= 1000 * (deadline.LAST_TURN - 1)


def test_value_that_the_database_rejects_is_not_asked_for_again():
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

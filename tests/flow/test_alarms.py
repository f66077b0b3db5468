"""Alarms: missing receipts and replies, an ageing queue, absent senders; their start and their end."""

import datetime as dt
import logging

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.models import (
    Batch,
    BatchEntry,
    BatchState,
    Circuit,
    DeliveryReceipt,
    Kind,
    OutboundMessage,
    Sender,
    Spending,
)
from bookings.operations import alarms
from bookings.operations.maintenance import sweep
from bookings.web.webhooks.alarm import MOST
from bookings.web.webhooks.views import refusals
from tests.factories import (
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    UserFactory,
)
from tests.flow.clock import clock_at

pytestmark = [pytest.mark.django_db, pytest.mark.database]

M = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _nothing_rang_before(settings):
    settings.QUIET_HOURS = None
    alarms._logged.clear()
    yield
    alarms._logged.clear()


@pytest.fixture
def clock(time_machine):
    return clock_at(time_machine, "2026-11-24 12:00")


def names() -> list[str]:
    return [alarm.name for alarm in alarms.current_alarms()]


def facts():
    return alarms.load_facts(timezone.now())


def sent(minutes: float, *, count: int = 1, **fields):
    """Create texts that the gateway took so many minutes ago."""
    moment = timezone.now() - minutes * M
    return SendAttemptFactory.create_batch(
        count, call_started_at=moment, message__call_started_at=moment, **fields
    )


def test_f15_missing_receipts_raise_an_alarm_within_ten_minutes_until_they_return(
    clock, network, drain, report, queued, client, caplog
):
    """Two texts a minute; from 12:00 the webhook cannot be reached; at 12:20 it can again."""

    def send_two():
        queued(), queued()
        drain()
        return network.posts[-2:]

    def rings(at):
        clock(f"2026-11-24 {at}")
        return "no_receipts" in client.get("/readyz").json()["alarms"]

    for minute in range(40, 60):
        assert not rings(f"11:{minute}")
        list(map(report, send_two()))
    missed, rang = [], []
    for minute in range(20):
        rang += [minute] if rings(f"12:{minute:02}") else []
        missed += send_two()
    assert 5 <= rang[0] <= 10
    assert rang == list(range(rang[0], 20))
    told = [r for r in caplog.records if "no_receipts" in r.getMessage()]
    assert [(r.levelno, r.name) for r in told] == [
        (logging.ERROR, "bookings.operations.alarms")
    ]  # once
    assert rings("12:20")
    list(map(report, missed))  # the gateway sends what was missed again
    assert not rings("12:20")
    assert DeliveryReceipt.objects.count() == 80
    sweep()
    assert "Alarm no_receipts is over." in caplog.text


def test_ten_texts_without_a_receipt_are_an_alarm_and_nine_are_none(clock):
    sent(6, count=9)
    assert "no_receipts" not in names()
    sent(6)
    assert "no_receipts" in names()


def test_texts_that_may_still_get_a_receipt_are_no_silence(clock):
    sent(4, count=10)
    sent(61, count=10)
    sent(6, count=10, verdict="refused")
    assert facts().silent_texts == 0


def test_one_receipt_of_any_text_ends_the_silence(clock):
    attempts = sent(6, count=12)
    DeliveryReceiptFactory.create(attempt=attempts[0], received_at=timezone.now())
    assert "no_receipts" not in names()


def ask(count: int, minutes: float, *, answered: int = 0):
    """Create notifications handed over so many minutes ago."""
    for number in range(count):
        moment = timezone.now() - minutes * M
        notification = NotificationFactory.create(handed_over_at=moment, options=0)
        message = {"kind": Kind.NOTIFICATION, "notification": notification}
        attempt = SendAttemptFactory.create(
            message=OutboundMessageFactory.create(state="delivered", **message),
            call_started_at=moment,
        )
        DeliveryReceiptFactory.create(attempt=attempt, received_at=moment + 0.1 * M)
        if number < answered:
            InboundMessageFactory.create(notification=notification, received_at=moment + 5 * M)


def test_two_hours_without_replies_raise_an_alarm(clock):
    ask(50, 2 * 24 * 60, answered=20)
    ask(19, 60)
    assert "no_replies" not in names()
    ask(1, 60)
    assert facts().reply_rate == 0.4
    assert facts().notifications == 20
    assert "no_replies" in names()
    InboundMessageFactory.create(received_at=timezone.now() - 119 * M)
    assert "no_replies" not in names()


def test_reply_alarm_needs_a_history(clock):
    ask(49, 2 * 24 * 60, answered=20)
    ask(20, 60)
    assert facts().reply_rate is None
    assert "no_replies" not in names()


@pytest.mark.parametrize(
    ("now", "quiet", "hours"),
    [
        ("2026-11-24 12:00", None, 4),
        ("2026-11-24 07:59", None, None),
        ("2026-11-24 20:00", None, None),
        ("2026-11-24 12:00", (dt.time(21), dt.time(9)), 3),
        ("2026-11-24 02:00", (dt.time(4), dt.time(6)), 20),
    ],
)
def test_by_day_is_outside_the_quiet_hours(now, quiet, hours, clock, settings):
    settings.QUIET_HOURS = quiet
    clock(now)
    assert facts().daytime == (None if hours is None else dt.timedelta(hours=hours))


def test_an_hour_that_the_clocks_skip_is_not_counted(clock):
    clock("2027-03-28 12:00")  # the night of the change to summer time lies before eight
    assert facts().daytime == dt.timedelta(hours=4)


def due(minutes: float, **fields):
    moment = timezone.now() - minutes * M
    return OutboundMessageFactory.create(queued_at=moment, due_at=moment, **fields)


def at_work():
    Sender.objects.create(name="here 1")


def test_aging_queue_raises_an_alarm_unless_its_cause_is_known(clock):
    at_work()
    due(9)
    due(30, is_held=True)
    assert names() == []
    due(11)
    assert names() == ["queue_ageing"]
    Spending.objects.create(day=timezone.localdate(), stopped_at=timezone.now())
    assert names() == []
    Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")
    assert names() == ["circuit_open"]


def test_deliberately_stopped_texts_do_not_age(clock):
    at_work()
    due(30, gateway="vonage")
    stopped = NotificationFactory.create()
    batch = Batch.objects.create(
        nonce="n", user=UserFactory.create(), sender="447700900000", state=BatchState.PAUSED
    )
    BatchEntry.objects.create(
        batch=batch, booking=stopped.booking, notification=stopped, settled_at=timezone.now()
    )
    due(30, kind=Kind.NOTIFICATION, notification=stopped)
    assert names() == []
    batch.state = BatchState.RUNNING
    batch.save()
    assert names() == ["queue_ageing"]


def test_texts_waiting_for_morning_do_not_age_and_answers_do(clock, settings):
    at_work()
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    clock("2026-11-24 21:00")
    due(60)
    assert names() == []
    clock("2026-11-25 08:09")
    assert names() == []
    clock("2026-11-25 08:11")
    assert names() == ["queue_ageing"]
    OutboundMessage.objects.all().delete()
    clock("2026-11-24 21:00")
    due(11, kind=Kind.ACKNOWLEDGEMENT)
    assert names() == ["queue_ageing"]


def test_a_sender_that_is_away_is_an_alarm():
    at_work()
    assert names() == []
    Sender.objects.update(seen_at=Now() - 3 * M)
    assert names() == ["no_sender"]


def test_an_installation_that_never_sent_has_no_alarm_until_something_waits():
    assert names() == []
    due(3)
    assert names() == ["no_sender"]


def test_slow_delivery_is_an_alarm(clock):
    for attempt in sent(10, count=17, message__state="delivered"):
        DeliveryReceiptFactory.create(attempt=attempt, received_at=timezone.now() - 9 * M)
    late = sent(10, count=3)
    assert names() == ["slow_delivery"]
    assert (facts().deliveries, facts().slow) == (20, 3)
    late[0].state = "failed"  # it did not arrive at all: that is told elsewhere
    late[0].save()
    assert names() == []


def test_refused_webhooks_are_told_by_the_process_that_refuses_them(client, monkeypatch):
    monkeypatch.setattr(refusals, "_rang_at", None)
    for _ in range(MOST + 1):
        assert client.post("/webhooks/inbound-sms", {"text": "2"}).status_code == 401
    assert client.get("/readyz").json()["alarms"] == ["webhooks_refused"]
    refusals._rang_at = timezone.now() - 11 * M
    assert client.get("/readyz").json()["alarms"] == []
    refusals._refused.clear()


def test_alarm_leaves_readyz_ready(client):
    due(11)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["alarms"]) == (200, ["no_sender", "queue_ageing"])


def test_an_alarm_is_logged_once_when_it_begins_and_again_when_it_returns(caplog):
    Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")
    sweep()
    sweep()
    Circuit.objects.update(opened_at=None)
    sweep()
    Circuit.objects.update(opened_at=timezone.now())
    sweep()
    told = [r.levelname for r in caplog.records if "circuit_open" in r.getMessage()]
    assert told == ["ERROR", "WARNING", "ERROR"]


def test_alarm_check_takes_constant_queries(clock):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            alarms.current_alarms()
        return len(captured)

    few = queries()
    ask(30, 60, answered=10)
    sent(10, count=30)
    assert queries() == few

"""From the queue to the network: claims, sending, and texts that stay queued."""

import datetime as dt

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from bookings.customers import consent
from bookings.models import Kind, MessageState, OutboundMessage, SendAttempt
from bookings.outbox.claiming import claim
from bookings.outbox.queueing import queue
from bookings.outbox.sending import gateway
from tests.factories import BookingFactory, NotificationFactory, SlotFactory
from tests.processes import VIRTUAL_NUMBER, running, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.database]

A_MINUTE = dt.timedelta(minutes=1)


def test_a_queued_text_is_handed_over_once_with_its_client_ref(network, queued, drain):
    message = queued(valid_until=timezone.now() + dt.timedelta(hours=2))
    forms = drain()
    assert drain() == []
    message.refresh_from_db()
    attempt = message.attempts.get()
    assert forms == [
        {
            "to": message.msisdn,
            "from": VIRTUAL_NUMBER,
            "text": message.text,
            "client-ref": f"{message.ref}-1",
            "ttl": forms[0]["ttl"],
        }
    ]
    assert 7_100_000 < int(forms[0]["ttl"]) <= 7_200_000
    assert message.state == MessageState.SUBMITTED
    assert [part.gateway_message_id for part in attempt.parts.all()] == [
        *network.posts[0].message_ids
    ]
    assert len(attempt.client_ref) <= 40


@pytest.mark.parametrize(
    ("left", "ttl"),
    [
        (dt.timedelta(seconds=5), "20000"),
        (dt.timedelta(days=9), "259200000"),
        (None, None),
    ],
    ids=["at least 20 s", "at most 72 h", "none"],
)
def test_time_to_live_given_to_vonage_is_the_remaining_life(queued, drain, left, ttl):
    queued(valid_until=timezone.now() + left if left else None)
    assert drain()[0].get("ttl") == ttl


def test_a_text_outside_gsm7_goes_as_unicode(queued, drain):
    queued(text="Acme: \u017d")
    assert drain()[0]["type"] == "unicode"


def test_answers_to_customers_go_before_bulk(drain, network):
    booking = BookingFactory.create()
    kinds = [Kind.NOTIFICATION, Kind.TOLD, Kind.STAFF, Kind.HELP, Kind.ACKNOWLEDGEMENT]
    for number, kind in enumerate(kinds):
        notification = NotificationFactory.create() if kind == Kind.NOTIFICATION else None
        queue(
            kind,
            kind,
            key=f"key:{number}",
            msisdn=booking.msisdn,
            sender=VIRTUAL_NUMBER,
            booking=booking,
            notification=notification,
        )
    assert [form["text"] for form in drain()] == [
        "help",
        "acknowledgement",
        "staff",
        "told",
        "notification",
    ]


def test_simulator_text_never_reaches_a_real_phone(queued, drain):
    message = queued(gateway="simulator")
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.QUEUED


@pytest.mark.parametrize(
    ("kind", "is_sent"),
    [
        (Kind.NOTIFICATION, False),
        (Kind.TOLD, False),
        (Kind.STAFF, False),
        (Kind.ACKNOWLEDGEMENT, False),
        (Kind.HELP, True),
        (Kind.OPT_OUT_CONFIRMATION, True),
    ],
)
def test_opt_out_after_queueing_lets_only_help_and_confirmation_leave(queued, drain, kind, is_sent):
    message = queued(kind)
    consent.change(message.msisdn, is_opted_out=True, words="STOP")
    assert not claim(1).messages or is_sent  # at the claim, without any sweep
    OutboundMessage.objects.update(state=MessageState.QUEUED, token="")
    assert len(drain()) == is_sent
    message.refresh_from_db()
    assert message.state == (MessageState.SUBMITTED if is_sent else MessageState.CANCELLED)


def test_a_kind_of_a_newer_version_is_left_to_it(queued, drain):
    """Two versions at work after half a deployment: the constraint is the newer one's, too."""
    newer, known = queued(), queued()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        else:
            table = OutboundMessage._meta.db_table
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else there are checks to be made yet
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT outbound_kind_is_known")
    try:
        OutboundMessage.objects.filter(pk=newer.pk).update(kind="survey")
        assert [form["to"] for form in drain()] == [known.msisdn]
        newer.refresh_from_db()
        assert newer.state == MessageState.QUEUED
        newer.delete()
    finally:
        if connection.vendor == "sqlite":
            connection.cursor().execute("PRAGMA ignore_check_constraints = OFF")


def test_outdated_text_is_not_sent(queued, drain):
    message = queued(valid_until=timezone.now())
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED


def test_a_notification_is_not_sent_with_under_30_minutes_to_its_close(queued, drain, settings):
    settings.CHANGE_CUTOFF_HOURS = 1
    slot = SlotFactory.create(
        date=dt.date(2027, 3, 1), window_start=dt.time(12), window_end=dt.time(13)
    )
    with time_machine.travel(dt.datetime(2027, 3, 1, 10, 0, tzinfo=dt.UTC), tick=False) as clock:
        booking = BookingFactory.create(slot=slot)
        queued(
            Kind.NOTIFICATION,
            notification=NotificationFactory.create(booking=booking, handed_over_at=None),
        )
        clock.shift(30 * A_MINUTE + dt.timedelta(seconds=1))
        assert drain() == []
        clock.shift(dt.timedelta(seconds=-1))
        assert len(drain()) == 1


@pytest.mark.parametrize(
    ("kind", "age", "is_sent"),
    [
        (Kind.NOTIFICATION, dt.timedelta(), False),
        (Kind.STAFF, dt.timedelta(), False),
        (Kind.ACKNOWLEDGEMENT, dt.timedelta(hours=1), True),
        (Kind.ACKNOWLEDGEMENT, dt.timedelta(hours=1, seconds=1), False),
        (Kind.HELP, dt.timedelta(), True),
    ],
    ids=["notification", "staff", "answer of an hour", "older answer", "help"],
)
def test_in_quiet_hours_only_fresh_answers_leave(queued, drain, settings, kind, age, is_sent):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    with time_machine.travel(dt.datetime(2027, 3, 1, 23, tzinfo=dt.UTC), tick=False) as clock:
        queued(kind, queued_at=timezone.now() - age)
        assert len(drain()) == is_sent
        clock.move_to(dt.datetime(2027, 3, 2, 8, tzinfo=dt.UTC))
        assert len(drain()) == (not is_sent)


@pytest.mark.parametrize(
    ("hour", "is_sent"), [(22, True), (23, False)], ids=["within 24 h", "later"]
)
def test_at_night_dispatch_speaks_only_of_deliveries_within_24_hours(
    queued, drain, settings, hour, is_sent
):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    with time_machine.travel(dt.datetime(2027, 3, 1, 22, tzinfo=dt.UTC), tick=False):
        slot = SlotFactory.create(
            date=dt.date(2027, 3, 2), window_start=dt.time(hour), window_end=dt.time(23, 30)
        )
        queued(Kind.TOLD, booking=BookingFactory.create(slot=slot))
        assert len(drain()) == is_sent


def test_option_once_sends_one_batch_and_stops(queued, network):
    for _ in range(6):
        queued()
    call_command("run_outbox", "--once")
    assert 0 < network.count() < 6


def test_message_is_queued_in_the_transaction_of_its_cause():
    with transaction.atomic():
        queue(Kind.STAFF, "x", key="a", msisdn="447700900001", sender=VIRTUAL_NUMBER)
        transaction.set_rollback(True)
    assert not OutboundMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_several_idle_senders_are_woken_by_a_message_and_one_sends_it(
    vonage, queued, process_env, tmp_path
):
    first = queued()
    with (
        running("run_outbox", env=process_env, log=tmp_path / "one"),
        running("run_outbox", env=process_env, log=tmp_path / "other"),
    ):
        wait_for(lambda: OutboundMessage.objects.filter(state=MessageState.SUBMITTED).count() == 1)
        before = timezone.now()
        for number in range(20):
            queue(
                Kind.STAFF,
                "Acme: hello",
                key=f"key:{number}",
                msisdn=first.msisdn,
                sender=VIRTUAL_NUMBER,
            )
        wait_for(lambda: OutboundMessage.objects.filter(state=MessageState.SUBMITTED).count() == 21)
    assert vonage.count() == 21
    called = SendAttempt.objects.order_by("call_started_at").values_list(
        "call_started_at", flat=True
    )[1]
    assert called - before < dt.timedelta(seconds=2)  # a sweep comes every 5


def test_the_gateway_is_the_one_of_the_settings_at_that_moment(network, settings):
    vonage = gateway()
    assert (vonage.name, gateway()) == ("vonage", vonage)
    settings.VONAGE_REST_HOST = "localhost:1"
    assert gateway() is not vonage
    settings.SMS_GATEWAY = "simulator"
    assert gateway().name == "simulator"

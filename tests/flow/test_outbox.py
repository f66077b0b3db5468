"""From the queue to the network: what is claimed, what is sent, and what becomes of each answer."""

import datetime as dt
import threading

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from bookings.gateways import SendResult, Verdict
from bookings.models import Consent, Kind, MessageState, Notification, OutboundMessage, SendAttempt
from bookings.outbox.claiming import claim
from bookings.outbox.queueing import queue
from bookings.outbox.sending import gateway, hand_over
from tests.factories import BookingFactory, NotificationFactory, SlotFactory
from tests.processes import VIRTUAL_NUMBER, running, wait_for

pytestmark = pytest.mark.django_db

A_MINUTE = dt.timedelta(minutes=1)
LOST_ANSWERS = [
    *("accept_then_close", "accept_then_reset", "half_headers", "half_body"),
    *("html200", "empty200"),
]


class Carrier:
    """A gateway that looks around when it is called."""

    name = "vonage"

    def __init__(self, look) -> None:
        self.look = look

    def send(self, sms) -> SendResult:
        return self.look(sms) or SendResult(verdict=Verdict.ACCEPTED)

    def close(self) -> None:
        pass


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
def test_what_is_left_of_its_life_is_given_to_vonage(queued, drain, left, ttl):
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


def test_what_was_meant_for_the_simulator_never_reaches_a_real_phone(queued, drain):
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
def test_who_opted_out_after_it_was_queued_gets_only_help_and_the_confirmation(
    queued, drain, kind, is_sent
):
    message = queued(kind)
    Consent.objects.record(message.msisdn, is_opted_out=True, words="STOP")
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


def test_what_is_not_true_any_more_is_not_sent(queued, drain):
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


@pytest.mark.parametrize("status", ["2", "3", "6", "7", "12", "15", "22", "23", "29", "33"])
def test_a_definite_refusal_fails_at_once_with_plain_words(network, queued, drain, status):
    message = queued()
    network.set_mode(f"status:{status}")
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.FAILED
    assert message.reason.endswith(".")
    assert message.attempts.get().code == status


def test_half_a_text_fails_and_is_not_sent_again(network, queued, drain):
    message = queued(text="Acme: " + "x" * 200)
    network.set_mode("partial")
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert (message.state, message.attempts.get().parts.count()) == (MessageState.FAILED, 1)


@pytest.mark.parametrize("mode", LOST_ANSWERS)
def test_a_lost_answer_leaves_the_outcome_unknown_and_is_one_post(network, queued, drain, mode):
    message = queued()
    network.set_mode(mode)
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.UNKNOWN
    assert message.reason
    assert network.count() == 1


def test_an_error_inside_vonage_is_tried_eight_times_and_then_given_up(network, queued, drain):
    message = queued()
    network.set_mode("500")
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        for minutes in range(0, 300, 1):
            clock.move_to(start + minutes * A_MINUTE)
            drain()
            message.refresh_from_db()
            if message.state == MessageState.FAILED:
                break
    assert message.state == MessageState.FAILED
    assert "8 tries" in message.reason
    assert network.count() == 8
    assert dt.timedelta(hours=1) < message.due_at - start < dt.timedelta(hours=4)


def test_a_night_in_the_queue_does_not_use_up_the_tries(network, queued, drain):
    message = queued(queued_at=timezone.now() - dt.timedelta(hours=12))
    network.set_mode("500", times=1)
    drain()
    message.refresh_from_db()
    assert message.state == MessageState.QUEUED
    with time_machine.travel(timezone.now() + A_MINUTE):
        drain()
    message.refresh_from_db()
    assert message.state == MessageState.SUBMITTED
    assert [attempt.number for attempt in message.attempts.all()] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "is_handed_over"),
    [("ok", True), ("half_body", True), ("500", False), ("status:9", False), ("status:6", False)],
)
def test_digits_that_never_left_us_mean_nothing_yet(network, queued, drain, mode, is_handed_over):
    message = queued(Kind.NOTIFICATION)
    network.set_mode(mode)
    drain()
    notification = Notification.objects.get(pk=message.notification_id)
    assert (notification.handed_over_at is not None) is is_handed_over


def test_a_second_try_that_was_refused_does_not_take_back_what_a_first_may_have_told(
    network, queued, drain
):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("half_body", times=1)
    network.set_mode("status:6")
    network.set_mode("half_body", times=1)
    drain()
    with time_machine.travel(timezone.now() + 16 * A_MINUTE):
        drain()
    assert message.attempts.count() == 2
    assert Notification.objects.get(pk=message.notification_id).handed_over_at is not None


def take_the_claim(message):
    OutboundMessage.objects.filter(pk=message.pk).update(token="another")


def cancel(message):
    OutboundMessage.objects.filter(pk=message.pk).cancel("moved")


def run_out(message):
    past = timezone.now() - A_MINUTE
    OutboundMessage.objects.filter(pk=message.pk).update(lease_until=past)


@pytest.mark.parametrize("happens", [take_the_claim, cancel, run_out])
def test_a_claim_that_was_lost_sends_nothing(queued, network, happens):
    queued()
    (message,) = claim(1).messages
    happens(message)
    hand_over(message, Carrier(lambda sms: pytest.fail("called")))
    assert SendAttempt.objects.count() == 0


def test_a_bug_in_the_gateway_leaves_one_outcome_unknown_and_the_others_flow(queued, network):
    poisoned, other = queued(text="poison"), queued()

    def fail_on_poison(sms):
        if sms.text == "poison":
            raise RuntimeError("told to")

    for message in claim(2).messages:
        hand_over(message, Carrier(fail_on_poison))
    poisoned.refresh_from_db()
    other.refresh_from_db()
    assert (poisoned.state, other.state) == (MessageState.UNKNOWN, MessageState.SUBMITTED)


def test_once_sends_one_batch_and_stops(queued, network):
    for _ in range(6):
        queued()
    call_command("run_outbox", "--once")
    assert 0 < network.count() < 6


def test_a_message_is_queued_with_what_gives_rise_to_it_or_not_at_all():
    with transaction.atomic():
        queue(Kind.STAFF, "x", key="a", msisdn="447700900001", sender=VIRTUAL_NUMBER)
        transaction.set_rollback(True)
    assert not OutboundMessage.objects.exists()


def in_thread(act):
    """Do it in a thread, whose database connection is its own."""
    found = []

    def run():
        try:
            found.append(act())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.django_db(transaction=True)
def test_the_start_of_a_call_is_committed_before_it_and_no_transaction_is_open_during_it(
    queued, network
):
    message = queued()
    seen = []

    def look(sms):
        stored = in_thread(lambda: OutboundMessage.objects.get(pk=message.pk))
        attempts = in_thread(lambda: list(stored.attempts.values_list("client_ref", flat=True)))
        seen.append((stored.call_started_at is not None, attempts, connection.in_atomic_block))

    (claimed,) = claim(1).messages
    hand_over(claimed, Carrier(look))
    assert seen == [(True, [f"{message.ref}-1"], False)]


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_written_down_though_the_database_is_busy(queued, network):
    message = queued()
    is_locked, may_go = threading.Event(), threading.Event()

    def lock():
        with transaction.atomic():
            OutboundMessage.objects.select_for_update().get(pk=message.pk)
            is_locked.set()
            may_go.wait(10)
        connection.close()

    blocker = threading.Thread(target=lock)

    def get_busy(sms):
        blocker.start()
        assert is_locked.wait(10)
        threading.Timer(0.5, may_go.set).start()
        impatient = {
            "sqlite": "PRAGMA busy_timeout = 50",
            "postgresql": "SET lock_timeout = '50ms'",
        }
        with connection.cursor() as cursor:
            cursor.execute(impatient[connection.vendor])

    (claimed,) = claim(1).messages
    try:
        hand_over(claimed, Carrier(get_busy))
    finally:
        may_go.set()
        blocker.join()
        connection.close()
    message.refresh_from_db()
    assert message.state == MessageState.SUBMITTED


@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_told_to_stop_finishes_the_calls_under_way(
    network, queued, process_env, tmp_path
):
    network.set_mode("slow:2")
    message = queued()
    with running("run_outbox", env=process_env, log=tmp_path / "sender") as sender:
        wait_for(network.count)
        sender.terminate()
        assert sender.wait(15) == 0
    message.refresh_from_db()
    assert (message.state, network.count()) == (MessageState.SUBMITTED, 1)


@pytest.mark.django_db(transaction=True)
def test_several_idle_senders_are_woken_by_a_message_and_one_sends_it(
    network, queued, process_env, tmp_path
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
    assert network.count() == 21
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

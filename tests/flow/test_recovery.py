"""Recovery after crashes and missing receipts, and texts that are sent once more."""

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.gateways import PartResult, SendResult, Verdict
from bookings.models import (
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
)
from bookings.operations.maintenance import sweep
from bookings.outbox import recovery
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import InboundMessageFactory, OutboundMessageFactory, SlotFactory
from tests.flow.conftest import begin_call

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BULK = [Kind.NOTIFICATION, Kind.TOLD]
ANSWERS = [Kind.ACKNOWLEDGEMENT, Kind.HELP, Kind.RE_PROMPT, Kind.OPT_OUT_CONFIRMATION, Kind.STAFF]


def let_leases_run_out():
    """End the leases by dating rows back: they are in database time, which tests cannot move."""
    past = timezone.now() - dt.timedelta(hours=1)
    OutboundMessage.objects.filter(state=MessageState.SENDING).update(lease_until=past)


def crash(*, call_started):
    """Let a sender claim a message, perhaps begin the call, and crash. Returns the attempt."""
    attempt = None
    if call_started:
        attempt = begin_call()
    else:
        claim(1)
    let_leases_run_out()
    return attempt


def minutes_later(minutes):
    return time_machine.travel(timezone.now() + dt.timedelta(minutes=minutes))


def state_of(message):
    message.refresh_from_db()
    return message.state


@pytest.mark.parametrize("call_started", [False, True], ids=["claimed", "called"])
def test_a_claim_is_left_alone_while_its_lease_lasts(network, queued, call_started):
    message = queued()
    (claimed,) = claim(1).messages
    if call_started:
        start_call(claimed)
    sweep()
    assert state_of(message) == MessageState.SENDING
    assert claim(1).messages == []


def test_a_sender_that_stopped_before_the_call_leaves_a_message_that_is_sent_once(
    network, queued, drain
):
    message = queued()
    crash(call_started=False)
    assert len(drain()) == 1
    assert state_of(message) == MessageState.SUBMITTED


@pytest.mark.parametrize("kind", [*BULK, *ANSWERS])
def test_a_sender_that_stopped_during_the_call_leaves_an_unknown_outcome(
    network, queued, drain, kind
):
    message = queued(kind)
    crash(call_started=True)
    assert drain() == []
    assert state_of(message) == MessageState.UNKNOWN
    assert "It is unknown" in message.reason


@pytest.mark.parametrize("kind", BULK)
def test_notifications_and_staff_texts_are_resent_once_after_15_minutes(
    network, queued, drain, kind
):
    message = queued(kind)
    network.set_mode("accept_then_close")
    assert len(drain()) == 1
    with minutes_later(14):
        assert drain() == []
    with minutes_later(16):
        assert len(drain()) == 1
    with minutes_later(60):
        assert drain() == []
    assert state_of(message) == MessageState.UNKNOWN
    assert [post.client_ref for post in network.posts] == [f"{message.ref}-1", f"{message.ref}-2"]


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_are_never_sent_again_by_themselves(network, queued, drain, kind):
    message = queued(kind)
    network.set_mode("accept_then_close")
    drain()
    with minutes_later(60):
        assert drain() == []
    assert state_of(message) == MessageState.UNKNOWN


def has_replied(message):
    InboundMessageFactory.create(msisdn=message.msisdn, booking=None)


def has_opted_out(message):
    consent.change(message.msisdn, is_opted_out=True, words="STOP")


def has_a_receipt(message):
    attempt = message.attempts.get()
    attempt.receipts.create(gateway_message_id="0A1", status="unknown")
    message.update_state()


def was_moved(message):
    day_after = message.booking.slot.date + dt.timedelta(days=1)
    dispatch.move(message.booking, SlotFactory.create(date=day_after))


def was_cancelled(message):
    dispatch.cancel(message.booking)


def is_past(message):
    OutboundMessage.objects.filter(pk=message.pk).update(valid_until=timezone.now())


@pytest.mark.parametrize("kind", BULK)
@pytest.mark.parametrize(
    "happens",
    [
        has_replied,
        has_opted_out,
        has_a_receipt,
        was_moved,
        was_cancelled,
        is_past,
    ],
)
def test_text_with_a_receipt_or_a_changed_booking_is_not_resent(
    network, queued, drain, kind, happens
):
    message = queued(kind)
    network.set_mode("accept_then_close", times=1)
    drain()
    happens(OutboundMessage.objects.get(pk=message.pk))
    with minutes_later(16):
        assert drain() == []


def test_a_notification_whose_second_try_was_throttled_still_gets_it(network, queued, drain):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("status:1", times=1)
    network.set_mode("accept_then_close", times=1)
    drain()
    with minutes_later(16):
        assert len(drain()) == 2
    assert state_of(message) == MessageState.SUBMITTED


def test_a_receipt_for_the_first_try_cancels_the_second_that_waits(network, queued, drain, report):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("accept_then_close")
    drain()
    with minutes_later(16):
        recovery.send_again()
        assert state_of(message) == MessageState.QUEUED
        report(network.posts[0], "buffered")
        assert drain() == []
    assert state_of(message) == MessageState.BUFFERED


def test_a_receipt_for_the_first_try_takes_the_claim_on_the_second_away(
    network, queued, drain, report
):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("accept_then_close")
    drain()
    with minutes_later(16):
        recovery.send_again()
        (claimed,) = claim(1).messages
        report(network.posts[0], "delivered")
        assert start_call(claimed) is None
    assert state_of(message) == MessageState.DELIVERED


def test_a_late_answer_that_proves_the_gateway_has_it_counts(network, queued):
    message = queued()
    attempt = crash(call_started=True)
    sweep()
    settle(attempt, SendResult(verdict=Verdict.ACCEPTED, code="0"))
    assert state_of(message) == MessageState.SUBMITTED


@pytest.mark.parametrize("verdict", [Verdict.THROTTLED, Verdict.UNKNOWN, Verdict.NOT_SENT])
def test_a_late_answer_without_proof_changes_nothing(network, queued, verdict):
    message = queued()
    attempt = crash(call_started=True)
    sweep()
    settle(attempt, SendResult(verdict=verdict))
    assert state_of(message) == MessageState.UNKNOWN
    assert message.attempts.get().verdict == verdict


def test_the_parts_of_a_stopped_call_count_as_ours_until_its_late_answer(network, queued):
    message = queued(parts=2)
    attempt = crash(call_started=True)
    sweep()
    assert message.attempts.get().counted_parts == message.attempts.get().unpriced_parts == 2
    taken = PartResult(message_id="0A1", status="0", price="0.03")
    settle(attempt, SendResult(verdict=Verdict.ACCEPTED, parts=(taken,)))
    late = message.attempts.get()
    assert (late.counted_parts, late.unpriced_parts) == (1, 0)


def test_a_late_answer_does_not_take_the_claim_of_the_next_sender(network, queued):
    message = queued(Kind.NOTIFICATION)
    attempt = crash(call_started=True)
    sweep()
    with minutes_later(16):
        recovery.send_again()
        (claimed,) = claim(1).messages
        settle(attempt, SendResult(verdict=Verdict.UNKNOWN))
        assert state_of(message) == MessageState.SENDING
        assert start_call(claimed) is not None


def test_message_that_stops_three_senders_is_parked(network, queued, drain):
    message = queued()
    for _ in range(3):
        crash(call_started=False)
        recovery.recover_expired_claims()
    queued()
    assert len(drain()) == 1
    assert state_of(message) == MessageState.FAILED
    assert "3 senders stopped" in message.reason


def test_the_leases_of_many_messages_run_out_at_once(network, queued):
    for _ in range(20):
        queued()
    for message in claim(10).messages:
        start_call(message)
    claim(5)
    let_leases_run_out()
    sweep()
    states = list(OutboundMessage.objects.values_list("state", flat=True))
    assert states.count(MessageState.UNKNOWN) == 10
    assert states.count(MessageState.QUEUED) == 10


def test_a_chore_that_fails_does_not_stop_the_sending(network, queued, drain, caplog):
    notification = queued(Kind.NOTIFICATION, valid_until=timezone.now())
    Notification.objects.filter(pk=notification.notification_id).update(msisdn="447700900998")
    OutboundMessageFactory.create(idempotency_key=f"afresh:{notification.pk}", gateway="simulator")
    queued()
    assert len(drain()) == 1
    assert "Chore renew_stale failed" in caplog.text


@pytest.mark.parametrize("verdict", [Verdict.THROTTLED, Verdict.ACCOUNT, Verdict.PROVIDER_ERROR])
def test_text_cancelled_during_its_call_is_not_retried(network, queued, drain, verdict):
    message = queued()
    attempt = begin_call()
    dispatch.cancel(message.booking)
    settle(attempt, SendResult(verdict=verdict, retry_after=dt.timedelta()))
    assert state_of(message) == MessageState.CANCELLED
    assert message.reason == "cancelled"


def test_a_notification_that_is_withdrawn_is_not_sent_once_more(network, queued, drain):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("accept_then_close", times=1)
    drain()
    now = timezone.now()
    Notification.objects.get(pk=message.notification_id).end(NotificationState.WITHDRAWN, now)
    with minutes_later(16):
        assert drain() == []


def test_a_receipt_that_contradicts_the_answer_makes_the_notification_readable_again(
    network, queued, drain, report
):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("500", times=1)
    drain()
    notification = Notification.objects.get(pk=message.notification_id)
    assert notification.handed_over_at is None
    report(network.posts[0])
    notification.refresh_from_db()
    assert notification.handed_over_at == message.attempts.get().call_started_at
    assert state_of(message) == MessageState.DELIVERED
    with minutes_later(5):
        assert drain() == []

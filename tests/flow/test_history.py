"""The timeline of a booking: all its events, in order, from stored rows."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.gateways import Verdict
from bookings.models import (
    ChangeCause,
    Kind,
    MessageState,
    NotificationState,
    Outcome,
    move_booking,
)
from bookings.reporting import timeline
from tests.factories import (
    BookingFactory,
    ConsentChangeFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SentPartFactory,
    SlotChangeFactory,
    SlotFactory,
    TicketFactory,
    UserFactory,
    in_days,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def ago(minutes: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(minutes=minutes)


def ask(booking, *, minutes_ago: float = 50, user=None, text: str = "Acme: reply 1, 2 or 3"):
    """Create a delivered notification."""
    at = ago(minutes_ago)
    notification = NotificationFactory.create(booking=booking, created_at=at, asked_by=user)
    message = OutboundMessageFactory.create(
        notification=notification, text=text, queued_at=at, state=MessageState.DELIVERED, user=user
    )
    attempt = SendAttemptFactory.create(
        message=message, call_started_at=at + dt.timedelta(seconds=5), state=MessageState.DELIVERED
    )
    part = SentPartFactory.create(attempt=attempt)
    DeliveryReceiptFactory.create(
        attempt=attempt,
        gateway_message_id=part.gateway_message_id,
        received_at=at + dt.timedelta(seconds=9),
    )
    return notification


def reply(notification, digit: int, *, text: str, minutes_ago: float = 40, **fields):
    """Create a reply that moved the booking, and its acknowledgement."""
    booking, at = notification.booking, ago(minutes_ago)
    option = notification.options.get(digit=digit)
    inbound = InboundMessageFactory.create(
        notification=notification,
        option=option,
        text=text,
        received_at=at,
        matched=str(digit),
        **fields,
    )
    change = move_booking(booking, option.slot, ChangeCause.REPLY, inbound=inbound)
    type(change).objects.filter(pk=change.pk).update(created_at=at)
    OutboundMessageFactory.create(
        booking=booking,
        kind=Kind.ACKNOWLEDGEMENT,
        in_reply_to=inbound,
        text="Acme: moved.",
        queued_at=at,
        state=MessageState.DELIVERED,
    )
    return inbound


def kinds(steps) -> list[str]:
    return [step.kind.value for step in steps]


def told(steps, kind: str):
    return [step for step in steps if step.kind == kind]


def test_timeline_shows_a_reply_in_order():
    anna = UserFactory.create(first_name="Anna", last_name="Post")
    booking = BookingFactory.create(reference="812", created_at=ago(60))
    reply(ask(booking, user=anna), 2, text="2 please")

    steps = timeline.timeline(booking)

    assert kinds(steps) == ["booked", "asked", "attempt", "receipt", "reply", "moved", "told"]
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    asked = told(steps, "asked")[0]
    assert (asked.text, asked.who) == ("Acme: reply 1, 2 or 3", "Anna Post")
    details = dict(asked.details)
    assert details["From"] == "+44 7700 900000"
    assert f"2 = {booking.slot}" in details["Options"]


def test_move_reason_ends_with_the_customers_words():
    booking = BookingFactory.create(reference="812", created_at=ago(60))
    before = booking.slot
    reply(ask(booking), 2, text="2 please\u202e!")

    lines = timeline.why(timeline.timeline(booking))

    assert kinds(lines) == ["moved", "told", "asked", "receipt", "reply"]
    assert lines[0].title == f"Moved to {booking.slot}"
    assert dict(lines[0].details)["Before"] == str(before)
    assert lines[-1].text == "2 please[U+202E]!"
    assert dict(lines[-1].details)["Read as"] == 'Choice (rule: digit, matched "2")'


def test_unmoved_booking_has_no_move_reason():
    booking = BookingFactory.create()
    ask(booking)
    assert timeline.why(timeline.timeline(booking)) == []


def test_move_by_staff_after_a_reply_names_the_user():
    booking = BookingFactory.create(created_at=ago(60))
    reply(ask(booking), 2, text="2")
    user = UserFactory.create(username="ben")
    dispatch.move(booking, SlotFactory.create(date=in_days(8)), user=user)

    (line,) = timeline.why(timeline.timeline(booking))

    assert (line.who, dict(line.details)["Moved by"]) == ("ben", "dispatch")


def test_timeline_names_the_import_of_a_move():
    change = SlotChangeFactory.create(cause=ChangeCause.IMPORT, user=None)
    moved = told(timeline.timeline(change.booking), "moved_by_staff")
    assert dict(moved[0].details)["Moved by"] == "import"


def test_timeline_names_the_cause_of_a_withdrawal():
    booking = BookingFactory.create()
    ask(booking)
    dispatch.move(booking, SlotFactory.create(date=in_days(9)))

    ended = told(timeline.timeline(booking), "ended")

    assert ended[0].title.startswith("Notification withdrawn: moved to")


def test_timeline_says_that_a_notification_closed_at_its_deadline():
    closed = {"state": NotificationState.CLOSED, "closed_at": timezone.now()}
    notification = NotificationFactory.create(**closed)
    ended = told(timeline.timeline(notification.booking), "ended")
    assert ended[0].title == "Notification closed: deadline passed"


def test_timeline_shows_a_cancellation_once_with_its_user():
    booking, user = BookingFactory.create(), UserFactory.create(username="cora")
    dispatch.cancel(booking, user=user)
    assert [(s.title, s.who) for s in told(timeline.timeline(booking), "staff")] == [
        ("Cancelled", "cora")
    ]


def test_timeline_keeps_a_cancellation_after_reinstatement():
    booking, user = BookingFactory.create(), UserFactory.create()
    dispatch.cancel(booking, user=user)
    dispatch.reinstate(booking, user=user)
    titles = [step.title for step in told(timeline.timeline(booking), "staff")]
    assert titles == ["Cancelled", "Reinstated"]


def test_timeline_shows_each_of_several_cancellations():
    booking, user = BookingFactory.create(), UserFactory.create(username="cora")
    for _ in range(2):
        dispatch.cancel(booking, user=user)
        dispatch.reinstate(booking)
    assert [step.title for step in timeline.timeline(booking)].count("Cancelled") == 2


def test_timeline_shows_each_try_with_its_result():
    failed = {"state": MessageState.FAILED, "reason": "Barred: call instead."}
    booking = BookingFactory.create()
    message = OutboundMessageFactory.create(booking=booking, **failed)
    first = {"verdict": Verdict.UNKNOWN.value, "code": "ReadTimeout", "state": MessageState.UNKNOWN}
    SendAttemptFactory.create(message=message, number=1, **first)
    refused = {"verdict": Verdict.REFUSED.value, "code": "7", "reason": "Number barred"}
    SendAttemptFactory.create(message=message, number=2, state=MessageState.FAILED, **refused)

    steps = timeline.timeline(booking)

    tries = told(steps, "attempt")
    assert [step.title.rpartition(": ")[2] for step in tries] == ["unknown", "refused"]
    assert dict(tries[1].details)["Why"] == "Number barred"
    assert dict(told(steps, "asked")[0].details)["Now"] == "failed: Barred: call instead."


def test_timeline_shows_replies_about_no_delivery():
    booking = BookingFactory.create()
    stray = {"msisdn": booking.msisdn, "text": "hello?", "outcome": Outcome.NO_QUESTION}
    inbound = InboundMessageFactory.create(**stray)
    TicketFactory.create(inbound=inbound, reason="Sent when no notification was open.")
    InboundMessageFactory.create(text="somebody else")
    ConsentChangeFactory.create(msisdn=booking.msisdn)

    steps = timeline.timeline(booking)

    (words,) = told(steps, "reply")
    assert words.text == "hello?"
    assert dict(words.details)["Needs attention"] == "Sent when no notification was open."
    assert told(steps, "consent")[0].title == "Opted out"


def test_timeline_shows_an_opt_out_from_before_the_booking():
    booking = BookingFactory.create()
    ConsentChangeFactory.create(msisdn=booking.msisdn, created_at=ago(9999))
    assert kinds(timeline.timeline(booking)) == ["consent", "booked"]


def test_the_number_of_queries_does_not_grow_with_the_story(django_assert_max_num_queries):
    booking = BookingFactory.create(created_at=ago(600))

    def live(days) -> None:
        for day in days:
            slot = SlotFactory.create(date=in_days(day))
            dispatch.move(booking, slot, user=UserFactory.create())
            notification = ask(booking, user=UserFactory.create())
            notification.options.update(is_held=False)
            reply(notification, 2, text="2")

    live([10])
    with django_assert_max_num_queries(14) as few:
        timeline.timeline(booking)
    live([20, 30, 40, 50, 60, 70])
    with django_assert_max_num_queries(len(few)):
        assert len(timeline.timeline(booking)) > 40

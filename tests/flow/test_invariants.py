"""The invariants: valid data passes every check, and each check finds its contradiction."""

import datetime as dt
from dataclasses import dataclass

import pytest
import time_machine
from django.utils import timezone

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.gateways import Verdict
from bookings.models import (
    Booking,
    BookingState,
    ChangeCause,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    SendAttempt,
    SlotChange,
    SlotOption,
    move_booking,
)
from bookings.notifications.asking import notify
from bookings.operations.invariants import find_contradictions
from bookings.outbox import delivery_receipts
from tests.factories import (
    BookingFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SlotChangeFactory,
    SlotFactory,
    in_days,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LONG_AGO = dt.timedelta(hours=1)


def contradictions():
    return list(find_contradictions())


@dataclass
class History:
    """One customer was asked, chose another day, and was told so; all of it was delivered."""

    booking: Booking
    notification: Notification
    choice: InboundMessage
    asked: OutboundMessage
    told: OutboundMessage


def deliver(message):
    """Apply a receipt for each part."""
    for attempt in message.attempts.all():
        for part in attempt.parts.all():
            receipt = DeliveryReceiptFactory.create(
                attempt=None,
                client_ref=attempt.client_ref,
                gateway_message_id=part.gateway_message_id,
            )
            assert delivery_receipts.process(receipt)


@pytest.fixture
def history(drain, reply):
    booking = BookingFactory.create()
    notification = notify(booking)
    drain()
    choice = reply(booking.msisdn, "2")
    drain()
    booking.refresh_from_db()
    asked, told = OutboundMessage.objects.order_by("pk")
    deliver(asked)
    deliver(told)
    assert set(OutboundMessage.objects.values_list("state", flat=True)) == {"delivered"}
    return History(booking, notification, choice, asked, told)


def test_valid_history_passes_every_check(history, reply, drain):
    msisdn = history.booking.msisdn
    for words in ("1", "2", "hello", "thanks", "help", "3"):
        reply(msisdn, words)
        drain()
    dispatch.move(history.booking, SlotFactory.create(date=in_days(9)))
    notify(Booking.objects.get())
    dispatch.change_phone(history.booking, "447700900009")
    notify(Booking.objects.get())
    drain()
    reply("447700900009", "STOP")
    reply("447700900009", "2")
    drain()
    reply("447700900009", "START")
    dispatch.cancel(history.booking)
    drain()
    assert Booking.objects.get().slot_changes.count() > 3
    assert contradictions() == []


def test_a_notification_sent_once_more_after_silence_contradicts_nothing(drain):
    first = notify(BookingFactory.create())
    SendAttemptFactory.create(
        message=first.outbound_messages.get(),
        verdict=Verdict.UNKNOWN.value,
        state=MessageState.UNKNOWN,
    )
    first.outbound_messages.update(state=MessageState.UNKNOWN, call_started_at=timezone.now())
    Notification.objects.update(handed_over_at=timezone.now())
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=16)):
        drain()
    assert SendAttempt.objects.count() == 2
    assert contradictions() == []


# Every seed breaks one thing, past the rules that keep it, and names the line it must give.

SEEDS = {}


def finds(line):
    def register(seed):
        SEEDS[seed.__name__] = (seed, line)
        return seed

    return register


@finds("I1 inbound message {choice}: moved, but booking, notification and option")
def a_choice_without_an_option(history):
    InboundMessage.objects.update(option=None)


@finds("I1 inbound message {choice}: moved, but booking, notification and option")
def a_choice_about_another_booking(history):
    InboundMessage.objects.update(booking=BookingFactory.create())


@finds("I1 inbound message {choice}: moved, but booking, notification and option")
def a_choice_of_another_notification(history):
    other = notify(BookingFactory.create())
    InboundMessage.objects.update(notification=other)


@finds("I1 inbound message {choice}: it chose 'kept', its option means 'another'")
def a_choice_that_was_counted_as_another(history):
    InboundMessage.objects.update(chose="kept")


@finds("I1 inbound message {choice}: it moved no booking")
def a_move_that_did_not_happen(history):
    SlotChange.objects.all()._raw_delete("default")


@finds("I1 inbound message {choice}: it moved a booking to a slot that it did not choose")
def a_move_to_a_slot_that_was_not_chosen(history):
    other = SlotFactory.create(date=in_days(9))
    SlotChange.objects.update(to_slot=other)


@finds("I1 slot change {change}: by inbound message {choice}, which moved nothing")
def a_move_by_a_reply_that_kept(history):
    InboundMessage.objects.update(outcome=Outcome.KEPT)


@finds("I2 booking {reference}: it is in ")
def a_booking_moved_without_history(history):
    Booking.objects.update(slot=SlotFactory.create(date=in_days(9)))


@finds("I2 booking {reference}: it was changed at None, by its history at ")
def a_move_that_the_booking_does_not_know(history):
    Booking.objects.update(changed_at=None)


@finds("I2 booking {reference}: slot change {last_change} starts where it was not")
def a_gap_in_the_history(history):
    SlotChangeFactory.create(
        booking=history.booking,
        from_slot=SlotFactory.create(date=in_days(9)),
        to_slot=history.booking.slot,
    )


@finds("I2 notification {notification} about {reference} is open: its booking is cancelled")
def a_notification_about_a_cancelled_delivery(history):
    Booking.objects.update(state=BookingState.CANCELLED, cancelled_at=timezone.now())


@finds("I2 notification {notification} about {reference} is open: its booking has another phone")
def a_notification_to_a_former_number(history):
    Booking.objects.update(msisdn="447700900009")


@finds("I2 notification {notification} about {reference} is open: its booking was moved by others")
def a_notification_about_a_former_slot(history):
    move_booking(history.booking, SlotFactory.create(date=in_days(9)), ChangeCause.STAFF)


@finds("I2 option {option}: it is another customer's")
def an_option_of_another_customer(history):
    SlotOption.objects.filter(digit=1).update(msisdn="447700900009")


@finds("I2 option {option}: its notification is open, its digit is free")
def a_digit_that_could_mean_two_things(history):
    SlotOption.objects.filter(digit=1).update(is_held=False)


@finds("I3 inbound message {choice}: it has more than one answer")
def a_second_answer(history):
    OutboundMessageFactory.create(
        booking=history.booking,
        kind=Kind.RE_PROMPT,
        in_reply_to=history.choice,
        state=MessageState.CANCELLED,
    )


@finds("I3 inbound message {choice}: it moved a booking, and nobody told the customer")
def a_move_without_an_acknowledgement(history):
    OutboundMessage.objects.filter(pk=history.told.pk).update(in_reply_to=None)


@finds("I3 inbound message {choice}: its acknowledgement names another day or time")
def an_acknowledgement_of_another_day(history):
    OutboundMessage.objects.filter(pk=history.told.pk).update(text="Moved to Thu 99 Nov 09:00")


@finds("I3 outbound message {queued} waits to be sent: its booking was moved since")
def a_waiting_text_that_a_move_overtook(history):
    OutboundMessageFactory.create(
        booking=history.booking, kind=Kind.RE_PROMPT, queued_at=timezone.now() - LONG_AGO
    )


@finds("I3 outbound message {queued} waits to be sent: its notification is not open")
def a_waiting_notification_that_was_withdrawn(history):
    other = notify(BookingFactory.create())
    Notification.objects.filter(pk=other.pk).update(
        state=NotificationState.WITHDRAWN, closed_at=timezone.now()
    )


@finds("I3 outbound message {older} waits to be sent: a newer answer waits")
def two_answers_that_wait(history):
    for _ in range(2):
        OutboundMessageFactory.create(
            booking=history.booking,
            kind=Kind.ACKNOWLEDGEMENT,
            in_reply_to=InboundMessageFactory.create(outcome=Outcome.HELP),
        )


@finds("I4 outbound message {asked}: it may have been sent too often")
def a_second_try_that_nobody_allowed(history):
    SendAttemptFactory.create(message=history.asked, number=2, verdict="", state="delivered")


@finds("I4 outbound message {asked}: it may have been sent too often")
def a_third_try(history):
    OutboundMessage.objects.filter(pk=history.asked.pk).update(sent_again=True)
    for number in (2, 3):
        SendAttemptFactory.create(
            message=history.asked, number=number, verdict="unknown", state="unknown"
        )


@finds("I4 outbound message {told}: acknowledgement is never sent again by itself")
def an_answer_sent_again(history):
    OutboundMessage.objects.filter(pk=history.told.pk).update(sent_again=True)


@finds("I5 outbound message {queued}: accepted, and never handed over")
def a_state_out_of_nowhere(history):
    OutboundMessageFactory.create(state=MessageState.ACCEPTED)


@finds("I5 notification {notification}: its text left us, and its digits do not count")
def a_notification_that_left_unseen(history):
    Notification.objects.update(handed_over_at=None)


@finds("I6 outbound message {asked}: it is rejected, its attempts say delivered")
def a_message_that_fell_back(history):
    OutboundMessage.objects.filter(pk=history.asked.pk).update(state=MessageState.REJECTED)


@finds("I6 outbound message {asked}: attempt 1 is submitted, its receipts say delivered")
def an_attempt_that_fell_back(history):
    history.asked.attempts.update(state=MessageState.SUBMITTED)


@finds("I6 receipt {receipt}: it names an attempt that it is not stored with")
def a_receipt_that_was_not_matched(history):
    # One more of the same part changes no state by its absence.
    attempt = history.asked.attempts.get()
    DeliveryReceiptFactory.create(attempt=None, client_ref=attempt.client_ref, status="accepted")


@finds("I6 receipt {receipt}: it names an attempt that it is not stored with")
def a_receipt_with_anothers_attempt(history):
    part = history.told.attempts.get().parts.get()
    DeliveryReceiptFactory.create(
        attempt=history.told.attempts.get(),
        client_ref=history.asked.attempts.get().client_ref,
        gateway_message_id=part.gateway_message_id,
    )


@finds("I7 outbound message {queued}: sending, though its lease ended")
def a_claim_that_nobody_took_back(history):
    OutboundMessageFactory.create(
        state=MessageState.SENDING, token="t", lease_until=timezone.now() - LONG_AGO
    )


@finds("I8 outbound message {asked}: the parts that attempt 1 counts are 9, not 2")
def more_parts_than_the_gateway_took(history):
    history.asked.attempts.update(counted_parts=9)


@finds("I8 outbound message {asked}: the parts that attempt 2 counts are 1, not 0")
def parts_of_a_text_that_never_left(history):
    SendAttemptFactory.create(
        message=history.asked, number=2, verdict="refused", state="failed", counted_parts=1
    )


@finds("I8 outbound message {told}: sent to somebody who had opted out")
def a_text_after_an_opt_out(history):
    consent.change(history.booking.msisdn, is_opted_out=True, words="STOP")
    ConsentChange.objects.update(created_at=timezone.now() - LONG_AGO)


@finds("I8 consent change {consent_change}: it is the last of its number, and does not hold")
def a_consent_that_was_lost(history):
    consent.change(history.booking.msisdn, is_opted_out=True, words="STOP")
    Consent.objects.update(is_opted_out=False)


@finds("I9 slot {slot}: it holds 2 bookings and has room for 1")
def a_slot_with_too_many(history):
    history.booking.slot.capacity = 1
    history.booking.slot.save()
    BookingFactory.create(slot=history.booking.slot)


def latest(model, **fields):
    return model.objects.filter(**fields).order_by("-pk").values_list("pk", flat=True).first()


@pytest.mark.parametrize("name", SEEDS)
def test_each_check_finds_its_contradiction(name, history):
    seed, line = SEEDS[name]
    seed(history)
    waiting = list(OutboundMessage.objects.exclude(pk__in=[history.asked.pk, history.told.pk]))
    expected = line.format(
        reference=history.booking.reference,
        notification=history.notification.pk,
        choice=history.choice.pk,
        asked=history.asked.pk,
        told=history.told.pk,
        slot=history.booking.slot_id,
        option=latest(SlotOption, digit=1),
        change=SlotChange.objects.values_list("pk", flat=True).order_by("pk").first(),
        last_change=latest(SlotChange),
        receipt=latest(DeliveryReceipt),
        consent_change=latest(ConsentChange),
        queued=waiting[0].pk if waiting else None,
        older=waiting[-1].pk if waiting else None,
    )
    found = contradictions()
    assert any(each.startswith(expected) for each in found), found


@pytest.mark.parametrize(
    "capacity", [pytest.param(0, id="closed"), pytest.param(None, id="without a limit")]
)
def test_unlimited_or_closed_slot_is_never_overbooked(capacity):
    slot = SlotFactory.create(capacity=capacity)
    BookingFactory.create_batch(3, slot=slot)
    assert contradictions() == []


def test_a_lowered_capacity_is_reported_until_somebody_moves_deliveries():
    slot = SlotFactory.create(capacity=3)
    first, *_ = BookingFactory.create_batch(3, slot=slot)
    slot.capacity = 2
    slot.save()
    assert contradictions() == [f"I9 slot {slot.pk}: it holds 3 bookings and has room for 2"]
    dispatch.move(first, SlotFactory.create(date=in_days(9)))
    assert contradictions() == []


def test_no_line_tells_a_customers_name_number_or_words(history):
    SEEDS["a_booking_moved_without_history"][0](history)
    SEEDS["an_acknowledgement_of_another_day"][0](history)
    printed = "\n".join(contradictions())
    assert printed
    for secret in (history.booking.msisdn, history.booking.customer_name, "Moved to"):
        assert secret not in printed

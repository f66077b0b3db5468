"""Asking a customer: choose the options, open a notification, queue its SMS."""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from bookings import options, outbox, texts
from bookings.models import (
    Booking,
    Consent,
    Kind,
    Notification,
    NotificationState,
    OutboundMessage,
    Slot,
    SlotOption,
    lock_customer,
)
from bookings.models.fields import can_get_sms

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

#: Nobody is asked who would have less than this to answer.
LEAST_TIME_TO_ANSWER = dt.timedelta(minutes=30)


class CannotNotify(Exception):  # noqa: N818  # read as a sentence: "cannot notify: the customer has opted out"
    """This customer cannot be asked now. The text is a sentence for staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOption:
    digit: int
    words: str
    slot: Slot  # unsaved if it does not exist yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A notification as it would go out now: nothing is stored."""

    booking: Booking
    sender: str
    options: tuple[PlannedOption, ...]  # empty: a plain notice, since all digits are taken
    text: str
    closes_at: dt.datetime
    valid_until: dt.datetime

    @property
    def parts(self) -> int:
        return texts.count_parts(self.text)

    @property
    def is_unicode(self) -> bool:
        return not texts.is_gsm7(self.text)


def plan(
    booking: Booking, *, slots: Sequence[Slot] | None = None, sender: str | None = None
) -> Plan:
    """What `notify` would send now; writes nothing. The booking may be unsaved.

    `slots` replaces the options of our rule by others, chosen by staff. Raises CannotNotify.
    """
    now = timezone.now()
    sender = sender or settings.VONAGE_NUMBERS[0]
    _check_can_be_asked(booking, sender, now)
    offered = _offered(booking, slots, now)
    planned = _numbered(booking, offered, now)
    closes_at = booking.slot.cutoff_at
    ends = [closes_at, *(option.slot.cutoff_at for option in planned)]
    if any(_says_tomorrow(option, booking) for option in planned):
        ends.append(_end_of_day(now))
    return Plan(
        booking=booking,
        sender=sender,
        options=planned,
        text=_text(booking, planned, closes_at),
        closes_at=closes_at,
        valid_until=min(ends),
    )


def notify(
    booking: Booking,
    *,
    user: "User | None" = None,
    slots: Sequence[Slot] | None = None,
    sender: str | None = None,
    idempotency_key: str = "",
) -> Notification:
    """Ask the customer about a booking: withdraw the open question, open a new one, queue its SMS.

    Raises CannotNotify, and IntegrityError if the idempotency key was used before.
    """
    with transaction.atomic():
        booking = lock_booking(booking)
        _close(Notification.objects.past(timezone.now()).filter(msisdn=booking.msisdn))
        withdraw(booking, "asked again")
        planned = plan(booking, slots=slots, sender=sender)
        notification = _open(planned, user, has_chosen_options=slots is not None)
        outbox.queue(
            Kind.NOTIFICATION,
            planned.text,
            key=idempotency_key or f"notification:{notification.pk}",
            msisdn=booking.msisdn,
            sender=planned.sender,
            booking=booking,
            notification=notification,
            user=user,
            valid_until=planned.valid_until,
        )
    if planned.options:
        logger.info("Notification %s: booking %s asked", notification.pk, booking.pk)
    else:
        logger.warning(
            "Notification %s: booking %s told without options, all digits are taken",
            notification.pk,
            booking.pk,
        )
    return notification


def lock_booking(booking: Booking, *msisdns: str) -> Booking:
    """The booking as it is now, with the locks of its customer and of these other numbers taken."""
    while True:
        lock_customer(booking.msisdn, *msisdns)
        current = Booking.objects.select_related("slot").get(pk=booking.pk)
        if current.msisdn == booking.msisdn:
            return current
        booking = current  # its phone changed while we waited for the locks


def withdraw(booking: Booking, because: str) -> None:
    """Withdraw the open question about a booking, and cancel every queued text about it. The caller holds the locks."""
    now = timezone.now()
    questions = Notification.objects.open().filter(booking=booking)
    _close(questions.filter(closes_at__lte=now))
    for notification in questions.filter(closes_at__gt=now):
        notification.end(NotificationState.WITHDRAWN, now, because)
    OutboundMessage.objects.filter(booking=booking).cancel(because)


def close_past() -> int:
    """Close the questions whose time is over."""
    with transaction.atomic():
        return _close(Notification.objects.past(timezone.now()).locked()[:500])


def _close(past: Iterable[Notification]) -> int:
    now = timezone.now()
    count = 0
    for count, notification in enumerate(past, start=1):
        notification.end(NotificationState.CLOSED, now)
        OutboundMessage.objects.filter(notification=notification, kind=Kind.NOTIFICATION).cancel(
            "its time was over before it could be sent"
        )
    return count


def ask_afresh() -> int:
    """Cancel queued texts that are not true any more, and ask anew, with today's dates, where one still can."""
    stale = OutboundMessage.objects.queued().filter(valid_until__lte=timezone.now())
    messages = list(stale.select_related("booking").order_by("pk")[:200])
    for message in messages:
        with transaction.atomic():
            lock_customer(message.msisdn)
            waited = OutboundMessage.objects.filter(pk=message.pk).cancel(
                "no longer true: its time was over"
            )
            if waited and message.kind == Kind.NOTIFICATION and message.booking is not None:
                _ask_again(message.booking, message)
    return len(messages)


def _ask_again(booking: Booking, message: OutboundMessage) -> None:
    notification = Notification.objects.open().filter(outbound_messages=message).first()
    if notification is None:
        return
    chosen = (
        [option.slot for option in options.of(notification)]
        if notification.has_chosen_options
        else None
    )
    try:
        with transaction.atomic():
            key = f"afresh:{message.pk}"
            notify(
                booking,
                user=notification.asked_by,
                slots=chosen,
                sender=message.sender,
                idempotency_key=key,
            )
    except CannotNotify as error:
        logger.info("Notification %s not asked afresh: %s", notification.pk, error)
        withdraw(booking, str(error))


def _check_can_be_asked(booking: Booking, sender: str, now: dt.datetime) -> None:
    """Raise CannotNotify with the first reason found."""
    time_left = booking.slot.cutoff_at - now
    reasons = (
        (not booking.is_scheduled, "The booking is cancelled."),
        (
            time_left <= dt.timedelta(),
            "It is too late to change this delivery: its cut-off has passed.",
        ),
        (time_left < LEAST_TIME_TO_ANSWER, "Less than 30 minutes are left to answer."),
        (not can_get_sms(booking.msisdn), "This number cannot receive SMS: call instead."),
        (Consent.objects.is_opted_out(booking.msisdn), "The customer has opted out of our texts."),
        (
            not sender.isdecimal(),
            "A customer cannot reply to a name: choose a number to send from.",
        ),
        (sender not in settings.VONAGE_NUMBERS, f"{sender} is none of our numbers."),
    )
    for applies, reason in reasons:
        if applies:
            raise CannotNotify(reason)


def _offered(booking: Booking, slots: Sequence[Slot] | None, now: dt.datetime) -> list[Slot]:
    if slots is None:
        return options.offered_slots(booking, now)
    offered = options.choosable([options.stored(slot) for slot in slots], booking.slot, now)
    if not offered:
        raise CannotNotify("None of the chosen slots can be offered any more.")
    return offered


def _numbered(
    booking: Booking, slots: Sequence[Slot], now: dt.datetime
) -> tuple[PlannedOption, ...]:
    first = options.free_block(booking, now)
    if first is None:
        return ()
    today = timezone.localdate(now)
    return tuple(
        PlannedOption(
            digit=digit,
            words=texts.option_words(slot, booking.slot, booking.language, today=today),
            slot=slot,
        )
        for digit, slot in enumerate(slots, start=first)
    )


def _text(booking: Booking, planned: Sequence[PlannedOption], closes_at: dt.datetime) -> str:
    language = booking.language
    return texts.render(
        "notification" if planned else "notice",
        language,
        reference=booking.reference,
        where=texts.where(booking.slot, language),
        options=texts.render(
            "options", language, options=[(option.digit, option.words) for option in planned]
        ),
        until=texts.moment(closes_at, language),
    )


def _open(planned: Plan, user: "User | None", *, has_chosen_options: bool) -> Notification:
    booking = planned.booking
    options.release_rested(booking.msisdn, timezone.now())
    notification = Notification.objects.create(
        booking=booking,
        msisdn=booking.msisdn,
        virtual_number=planned.sender,
        slot=booking.slot,
        closes_at=planned.closes_at,
        asked_by=user,
        has_chosen_options=has_chosen_options,
    )
    SlotOption.objects.bulk_create(
        SlotOption(
            notification=notification,
            msisdn=booking.msisdn,
            digit=option.digit,
            words=option.words,
            slot=options.saved(option.slot),
        )
        for option in planned.options
    )
    return notification


def _says_tomorrow(option: PlannedOption, booking: Booking) -> bool:
    """Whether its words hold on one day only."""
    return option.words != texts.option_words(option.slot, booking.slot, booking.language)


def _end_of_day(now: dt.datetime) -> dt.datetime:
    tomorrow = timezone.localdate(now) + dt.timedelta(days=1)
    return timezone.make_aware(dt.datetime.combine(tomorrow, dt.time()))

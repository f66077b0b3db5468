"""What a customer would be asked now: the options, their digits, the text. Or why not. Nothing is stored."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from bookings import options, texts
from bookings.models import Booking, Consent, Slot
from bookings.outbox.destinations import why_never

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
    booking: Booking,
    *,
    slots: Sequence[Slot] | None = None,
    sender: str | None = None,
    also_taken: frozenset[int] = frozenset(),
) -> Plan:
    """What `notify` would send now; writes nothing. The booking may be unsaved.

    `slots` replaces the options of our rule by others, chosen by staff; `also_taken` are digits that
    others of the same batch will have taken by then. Raises CannotNotify.
    """
    now = timezone.now()
    sender = sender or settings.VONAGE_NUMBERS[0]
    _check_can_be_asked(booking, sender, now)
    offered = _offered(booking, slots, now)
    planned = _numbered(booking, offered, now, also_taken)
    # A wall-clock time in the hour that spring skips would be printed as it is: no clock shows it.
    closes_at = booking.slot.cutoff_at.astimezone(dt.UTC)
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


def _check_can_be_asked(booking: Booking, sender: str, now: dt.datetime) -> None:
    """Raise CannotNotify with the first reason found."""
    time_left = booking.slot.cutoff_at - now
    never = why_never(booking.msisdn)
    reasons = (
        (not booking.is_scheduled, "The booking is cancelled."),
        (
            time_left <= dt.timedelta(),
            "It is too late to change this delivery: its cut-off has passed.",
        ),
        (time_left < LEAST_TIME_TO_ANSWER, "Less than 30 minutes are left to answer."),
        (booking.msisdn in settings.VONAGE_NUMBERS, "This is a number of our own."),
        (bool(never), never),
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
    booking: Booking, slots: Sequence[Slot], now: dt.datetime, also_taken: frozenset[int]
) -> tuple[PlannedOption, ...]:
    first = options.free_block(booking, now, also_taken)
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


def _says_tomorrow(option: PlannedOption, booking: Booking) -> bool:
    """Whether its words hold on one day only."""
    return option.words != texts.option_words(option.slot, booking.slot, booking.language)


def _end_of_day(now: dt.datetime) -> dt.datetime:
    tomorrow = timezone.localdate(now) + dt.timedelta(days=1)
    return timezone.make_aware(dt.datetime.combine(tomorrow, dt.time()))

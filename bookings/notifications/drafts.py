"""A notification as it would go out now: its options, their digits, its text; or why it cannot. Nothing is stored."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from bookings.language import encoding, messages
from bookings.models import Booking, Consent, Slot
from bookings.outbox import claiming
from bookings.outbox.recipients import why_not_texted
from bookings.scheduling.clock import midnight
from bookings.scheduling.digits import free_block
from bookings.scheduling.offers import OfferCache, choosable
from bookings.scheduling.slots import find_stored

#: A customer who would have less than this to answer is not asked: the text would not be sent.
LEAST_TIME_TO_ANSWER = claiming.LEAST_TIME_TO_ANSWER


class CannotNotify(Exception):
    """This customer cannot be asked now. The text is a sentence for staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOption:
    """An option as it would be printed."""

    digit: int
    words: str
    slot: Slot  # unsaved if it does not exist yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A notification as it would go out now."""

    booking: Booking
    sender: str
    options: tuple[DraftOption, ...]  # empty: a plain notice, since all digits are taken
    text: str
    closes_at: dt.datetime
    valid_until: dt.datetime

    @property
    def parts(self) -> int:
        return encoding.count_parts(self.text)

    @property
    def is_unicode(self) -> bool:
        return not encoding.is_gsm7(self.text)


def draft_notification(
    booking: Booking,
    *,
    slots: Sequence[Slot] | None = None,
    sender: str | None = None,
    is_plain: bool = False,
    offers: OfferCache | None = None,
) -> Draft:
    """Return the notification that `asking.notify` would send now. The booking may be unsaved. Raises CannotNotify.

    `slots` replaces the slots that our rule offers by others, chosen by staff; `offers` remembers those of our rule;
    `is_plain` replaces characters that make the text dearer.
    """
    now = timezone.now()
    sender = sender or settings.VONAGE_NUMBERS[0]
    _check_can_be_asked(booking, sender, now)
    offered = _offered(booking, slots, offers or OfferCache(), now)
    first = free_block(booking, now)
    return write_draft(booking, offered, first, sender=sender, now=now, is_plain=is_plain)


def write_draft(
    booking: Booking,
    offered: Sequence[Slot],
    first: int | None,
    *,
    sender: str,
    now: dt.datetime,
    is_plain: bool = False,
) -> Draft:
    """Write a notification that offers these slots, with digits from `first` on. No query."""
    options = _numbered(booking, offered, first, timezone.localdate(now))
    text = _text(booking, options)
    # A wall-clock time in the hour that spring skips would be printed as it is: no clock shows it.
    closes_at = booking.slot.cutoff_at.astimezone(dt.UTC)
    ends = [closes_at, *(option.slot.cutoff_at for option in options)]
    if any(_names_relative_day(option, booking) for option in options):
        ends.append(midnight(timezone.localdate(now) + dt.timedelta(days=1)))
    return Draft(
        booking=booking,
        sender=sender,
        options=options,
        text=encoding.plain(text) if is_plain else text,
        closes_at=closes_at,
        valid_until=min(ends),
    )


def _check_can_be_asked(booking: Booking, sender: str, now: dt.datetime) -> None:
    """Raise CannotNotify with the first reason found."""
    is_opted_out = Consent.objects.is_opted_out(booking.msisdn)
    if reason := why_not_asked(booking, now, is_opted_out=is_opted_out):
        raise CannotNotify(reason)
    if not sender.isdecimal():
        raise CannotNotify("Customers cannot reply to a name: choose a number to send from.")
    if sender not in settings.VONAGE_NUMBERS:
        raise CannotNotify(f"{sender} is not one of our numbers.")


def why_not_asked(booking: Booking, now: dt.datetime, *, is_opted_out: bool) -> str:
    """The reason why this customer cannot be asked now, as a sentence for staff; "" if they can. No query."""
    time_left = booking.slot.cutoff_at - now
    reasons = (
        (not booking.is_scheduled, "The booking is cancelled."),
        (
            time_left <= dt.timedelta(),
            "It is too late to change this delivery: its cut-off has passed.",
        ),
        (time_left < LEAST_TIME_TO_ANSWER, "Less than 30 minutes are left to reply."),
    )
    not_texted = why_not_texted(booking.msisdn, is_opted_out=is_opted_out)
    return next((reason for applies, reason in reasons if applies), not_texted)


def _offered(
    booking: Booking, slots: Sequence[Slot] | None, offers: OfferCache, now: dt.datetime
) -> list[Slot]:
    if slots is None:
        return offers.of(booking, now)
    offered = choosable([find_stored(slot) for slot in slots], booking.slot, now)
    if not offered:
        raise CannotNotify("None of the chosen slots can be offered anymore.")
    return offered


def _numbered(
    booking: Booking, slots: Sequence[Slot], first: int | None, today: dt.date
) -> tuple[DraftOption, ...]:
    if first is None:
        return ()
    return tuple(
        DraftOption(
            digit=digit,
            words=messages.option_words(slot, booking.slot, booking.language, today=today),
            slot=slot,
        )
        for digit, slot in enumerate(slots, start=first)
    )


def _text(booking: Booking, options: Sequence[DraftOption]) -> str:
    language = booking.language
    return messages.render(
        "notification" if options else "notice",
        language,
        reference=booking.reference,
        where=messages.where(booking.slot, language),
        options=messages.render(
            "options", language, options=[(option.digit, option.words) for option in options]
        ),
        until=messages.moment(booking.slot.cutoff_at, language),
    )


def _names_relative_day(option: DraftOption, booking: Booking) -> bool:
    """Return True if the words of an option are true on one day only."""
    return option.words != messages.option_words(option.slot, booking.slot, booking.language)

"""The text of the answer to a reply, and the rewriting of answers that still wait when a notification ends."""

import datetime as dt
import enum
import functools
from collections.abc import Callable

from django.utils import timezone

from bookings import outbox
from bookings.language import encoding, messages
from bookings.models import (
    Booking,
    Kind,
    OutboundMessage,
    Slot,
    SlotOption,
)
from bookings.replies.context import Customer, PrintedOption, Standing, load_customer


class Answer(enum.StrEnum):
    """The texts that answer a reply, by their names in language/texts."""

    NOTHING = ""
    MOVED = "moved"
    KEPT = "kept"
    ALREADY = "already"
    FULL = "full"
    TOO_LATE = "too_late"
    CLOSED = "closed"
    OPTIONS_AGAIN = "not_understood"
    CANCEL_ASKED = "cancel_asked"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    HELP = "help"


#: The kinds of outbound messages that carry these answers; the others are acknowledgements.
KINDS = {
    Answer.OPTIONS_AGAIN: Kind.RE_PROMPT,
    Answer.HELP: Kind.HELP,
    Answer.OPTED_OUT: Kind.OPT_OUT_CONFIRMATION,
}

#: The most SMS parts of an answer: a longer one names digits without their words.
_MOST_PARTS = 2

#: An answer that offers nothing is worth sending for at least this time.
_LIFE = dt.timedelta(hours=24)


def write_about_texts(
    answer: Answer, customer: Customer, now: dt.datetime
) -> tuple[str, dt.datetime]:
    """Return the text about our texts themselves (STOP, START, HELP), and until when it is worth sending."""
    latest = customer.latest
    booking: Booking = latest.booking if latest else customer.newest_booking
    text = messages.render(answer, customer.language, reference=booking.reference)
    return text, now + _LIFE


def write(
    answer: Answer, customer: Customer, about: PrintedOption, booked: Slot, now: dt.datetime
) -> tuple[str, dt.datetime]:
    """Return the text about a booking that is in the slot `booked`, and until when it is true."""
    text = _text(answer, customer, about, booked, now)
    return text, _valid_until(answer, customer, about, booked, now)


def rewrite_waiting(msisdn: str) -> None:
    """Rewrite this customer's queued answers so that they repeat only notifications that are still open.

    The caller holds the locks of the customer and of these texts.
    """
    now = timezone.now()
    waiting = list(OutboundMessage.objects.repeating_notifications().filter(msisdn=msisdn).locked())
    customer = load_customer(msisdn, now) if waiting else None
    for message in waiting:
        if customer is None or (message.kind == Kind.RE_PROMPT and not _is_unanswered(customer)):
            OutboundMessage.objects.filter(pk=message.pk).cancel(
                "no notification is left to answer"
            )
        else:
            _write_anew(message, customer, now)


def _is_unanswered(customer: Customer) -> bool:
    return bool(customer.open_options) and not customer.has_chosen


def _write_anew(message: OutboundMessage, customer: Customer, now: dt.datetime) -> None:
    """Replace the text if it changed."""
    answer, about = Answer.OPTIONS_AGAIN, customer.latest
    inbound = message.in_reply_to
    if message.kind != Kind.RE_PROMPT and inbound is not None and inbound.option is not None:
        answer = Answer(inbound.outcome)
        standing = Standing.LATE if answer == Answer.TOO_LATE else Standing.CLOSED
        about = PrintedOption(option=inbound.option, standing=standing, asked_at=message.queued_at)
    if about is None:
        return
    text, valid_until = write(answer, customer, about, about.booking.slot, now)
    if text == message.text:
        return
    message.replace_text(
        text,
        parts=encoding.count_parts(text),
        booking=about.booking,
        notification=about.notification,
        valid_until=valid_until,
    )
    outbox.wake_senders()


def _text(
    answer: Answer, customer: Customer, about: PrintedOption, booked: Slot, now: dt.datetime
) -> str:
    booking, notification, language = about.booking, about.notification, about.booking.language
    left = customer.remaining(notification, booked)
    others = [option for option in left if option.slot_id != booked.pk]
    write = functools.partial(
        messages.render,
        answer,
        language,
        reference=booking.reference,
        where=messages.where(booked, language),
        asked=messages.option_words(about.option.slot, notification.slot, language),
        remaining=messages.options_text(left, language),
        digits=messages.digits_text(others, language),
        until=messages.moment(about.closes_in(booked), language),
        is_cancelled=not booking.is_scheduled,
        is_past=booked.ends_at <= now,
    )
    text = write(open_options=lambda: _open_notifications(customer, messages.options_text))
    if encoding.count_parts(text) <= _MOST_PARTS:
        return text
    return write(open_options=lambda: _open_notifications(customer, messages.digits_text))


def _open_notifications(
    customer: Customer, list_options: Callable[[list[SlotOption], str], str]
) -> str:
    """`Parcel AB12: 1 (Tue 24 Nov) or 2 (Thu 26 Nov), before Mon 23 Nov 21:00. Parcel CD34: 4 ...`"""
    return " ".join(
        messages.render(
            "open_notification",
            customer.language,
            reference=line.booking.reference,
            options=list_options(
                customer.remaining(line.notification, line.booking.slot), customer.language
            ),
            until=messages.moment(line.closes_at, customer.language),
        )
        for line in customer.open_notifications
    )


def _valid_until(
    answer: Answer, customer: Customer, about: PrintedOption, booked: Slot, now: dt.datetime
) -> dt.datetime:
    """Return the first cut-off of the notifications that the text repeats; without any the end of the delivery.

    "To change it reply 2 before Mon 21:00" is an addition: the news before it stays true after the offer ends.
    """
    match answer:
        case Answer.OPTIONS_AGAIN | Answer.CLOSED | Answer.TOO_LATE:
            offered = customer.open_options
        case Answer.FULL:
            mine = about.notification
            offered = tuple(line for line in customer.open_options if line.notification == mine)
        case _:
            offered = ()
    if not offered:
        return max(booked.ends_at, now + _LIFE)
    return min(min(line.closes_at, line.option.slot.cutoff_at) for line in offered)

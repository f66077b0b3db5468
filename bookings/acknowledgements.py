"""Saying what became of a reply: the text, and its place in the outbox."""

import datetime as dt
import functools
from collections.abc import Callable

from django.utils import timezone

from bookings import options, outbox, texts
from bookings.customers import Customer, Printed
from bookings.models import InboundMessage, Kind, OutboundMessage, SlotOption
from bookings.models.fields import as_msisdn

_KINDS = {
    "not_understood": Kind.RE_PROMPT,
    "help": Kind.HELP,
    "opted_out": Kind.OPT_OUT_CONFIRMATION,
}

#: The most SMS parts of an answer: one that would take more names digits without their words.
_MOST_PARTS = 2

#: For how long an answer that offers nothing is worth sending, at least.
_LIFE = dt.timedelta(hours=24)


def say_about_texts(name: str, inbound: InboundMessage, customer: Customer) -> None:
    """Queue the text `name` about our texts themselves, from the number that was written to."""
    latest = customer.latest
    booking = latest.booking if latest else customer.newest_booking
    outbox.queue(
        _KINDS.get(name, Kind.ACKNOWLEDGEMENT),
        texts.render(name, customer.language, reference=booking.reference),
        key=f"reply:{inbound.pk}",
        msisdn=customer.msisdn,
        sender=as_msisdn(inbound.virtual_number),
        in_reply_to=inbound,
        valid_until=timezone.now() + _LIFE,
    )


def say(name: str, inbound: InboundMessage, customer: Customer, about: Printed) -> None:
    """Queue the text `name` about a delivery, from the number that was written to.

    One that tells where the delivery stands takes the place of older ones that still wait.
    """
    booking = about.booking
    kind = _KINDS.get(name, Kind.ACKNOWLEDGEMENT)
    if kind == Kind.ACKNOWLEDGEMENT:
        older = OutboundMessage.objects.filter(booking=booking, in_reply_to__isnull=False)
        older.cancel("a newer answer took its place")
    outbox.queue(
        kind,
        _text(name, customer, about),
        key=f"reply:{inbound.pk}",
        msisdn=customer.msisdn,
        sender=as_msisdn(inbound.virtual_number),
        booking=booking,
        notification=about.notification,
        in_reply_to=inbound,
        valid_until=_valid_until(name, customer, about),
    )


def _text(name: str, customer: Customer, about: Printed) -> str:
    booking, notification, language = about.booking, about.notification, about.booking.language
    now = timezone.now()
    left = options.remaining(notification, now)
    others = [option for option in left if option.slot_id != booking.slot_id]
    write = functools.partial(
        texts.render,
        name,
        language,
        reference=booking.reference,
        where=texts.where(booking.slot, language),
        asked=texts.option_words(about.option.slot, notification.slot, language),
        remaining=texts.options_text(left, language),
        digits=texts.digits_text(others, language),
        until=texts.moment(about.closes_at, language),
        is_cancelled=not booking.is_scheduled,
        is_past=booking.slot.ends_at <= now,
    )
    text = write(questions=lambda: _open_questions(customer, texts.options_text, now))
    if texts.count_parts(text) <= _MOST_PARTS:
        return text
    return write(questions=lambda: _open_questions(customer, texts.digits_text, now))


def _open_questions(
    customer: Customer, list_options: Callable[[list[SlotOption], str], str], now: dt.datetime
) -> str:
    """`Parcel AB12: 1 (Tue 24 Nov) or 2 (Thu 26 Nov), before Mon 23 Nov 21:00. Parcel CD34: 4 ...`"""
    return " ".join(
        texts.render(
            "question",
            customer.language,
            reference=option.booking.reference,
            options=list_options(options.remaining(option.notification, now), customer.language),
            until=texts.moment(option.closes_at, customer.language),
        )
        for option in customer.open_questions
    )


def _valid_until(name: str, customer: Customer, about: Printed) -> dt.datetime:
    """The first cut-off of the questions that it repeats; without any the end of the delivery.

    "To change it reply 2 before Mon 21:00" is an addition: the news before it stays true, and outlives the offer.
    """
    match name:
        case "not_understood" | "closed" | "too_late":
            offered = customer.open_options
        case "full":
            mine = about.notification
            offered = tuple(line for line in customer.open_options if line.notification == mine)
        case _:
            offered = ()
    if not offered:
        return max(about.booking.slot.ends_at, timezone.now() + _LIFE)
    return min(min(line.closes_at, line.option.slot.cutoff_at) for line in offered)

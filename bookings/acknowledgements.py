"""Saying what became of a reply: the text, and its place in the outbox."""

import datetime as dt
from collections.abc import Iterable

from django.utils import timezone

from bookings import options, outbox, texts
from bookings.customers import Customer, Printed
from bookings.models import Booking, InboundMessage, Kind, Notification, OutboundMessage, SlotOption
from bookings.models.fields import as_msisdn

_KINDS = {
    "not_understood": Kind.RE_PROMPT,
    "help": Kind.HELP,
    "opted_out": Kind.OPT_OUT_CONFIRMATION,
}

#: For how long an answer that is about no delivery is worth sending.
_LIFE = dt.timedelta(hours=24)


def say(name: str, inbound: InboundMessage, customer: Customer, about: Printed | None) -> None:
    """Queue the text `name` in answer to a message, from the number that was written to.

    It cancels an older answer about the same delivery that still waits.
    """
    booking = about.booking if about else None
    if booking is not None:
        older = OutboundMessage.objects.filter(booking=booking, in_reply_to__isnull=False)
        older.cancel("a newer answer took its place")
    outbox.queue(
        _KINDS.get(name, Kind.ACKNOWLEDGEMENT),
        texts.render(name, customer.language) if about is None else _text(name, customer, about),
        key=f"reply:{inbound.pk}",
        msisdn=customer.msisdn,
        sender=as_msisdn(inbound.virtual_number),
        booking=booking,
        notification=about.notification if about else None,
        in_reply_to=inbound,
        valid_until=_valid_until(booking),
    )


def _text(name: str, customer: Customer, about: Printed) -> str:
    booking, notification, language = about.booking, about.notification, about.booking.language
    now = timezone.now()
    return texts.render(
        name,
        language,
        reference=booking.reference,
        where=texts.where(booking.slot, language),
        until=texts.moment(notification.closes_at, language),
        is_cancelled=not booking.is_scheduled,
        is_past=booking.slot.ends_at <= now,
        # Looked up only if the text prints them.
        digits=lambda: texts.digits_text(options.of(notification), language),
        remaining=lambda: texts.options_text(options.remaining(notification, now), language),
        has_others=lambda: len(options.remaining(notification, now)) > 1,
        others=lambda: open_questions(customer),
    )


def open_questions(customer: Customer) -> str:
    """`AB12: 1 (Tue 24 Nov) or 2 (Thu 26 Nov). CD34: 4 ...`: all that the customer can answer now."""
    return " ".join(
        texts.render(
            "question",
            customer.language,
            reference=notification.booking.reference,
            options=texts.options_text(offered, customer.language),
            until=texts.moment(notification.closes_at, customer.language),
        )
        for notification, offered in _by_question(customer.open_options)
    )


def _by_question(printed: Iterable[Printed]) -> list[tuple[Notification, list[SlotOption]]]:
    found: dict[int, tuple[Notification, list[SlotOption]]] = {}
    for line in printed:
        found.setdefault(line.notification.pk, (line.notification, []))[1].append(line.option)
    return list(found.values())


def _valid_until(booking: Booking | None) -> dt.datetime:
    now = timezone.now()
    return max(booking.slot.ends_at, now + _LIFE) if booking else now + _LIFE

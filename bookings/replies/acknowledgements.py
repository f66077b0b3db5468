"""Saying what became of a reply: the text, and its place in the outbox."""

import datetime as dt
import functools
from collections.abc import Callable

from django.utils import timezone

from bookings import outbox
from bookings.language import messages
from bookings.models import InboundMessage, Kind, MessageState, OutboundMessage, Outcome, SlotOption
from bookings.models.fields import as_msisdn
from bookings.replies.context import Customer, Printed, Standing, load_customer
from bookings.scheduling import offers

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
        messages.render(name, customer.language, reference=booking.reference),
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


def write_anew(msisdn: str) -> None:
    """Rewrite this customer's queued answers so that they repeat only notifications that are still open.

    The caller holds the locks of the customer and of these texts.
    """
    waiting = list(OutboundMessage.objects.repeating_notifications().filter(msisdn=msisdn).locked())
    customer = load_customer(msisdn, timezone.now()) if waiting else None
    for message in waiting:
        if customer is None or (message.kind == Kind.RE_PROMPT and not _is_unanswered(customer)):
            OutboundMessage.objects.filter(pk=message.pk).cancel(
                "no notification is left to answer"
            )
        else:
            _write_anew(message, customer)


def _is_unanswered(customer: Customer) -> bool:
    return bool(customer.open_options) and not customer.has_chosen


def _write_anew(message: OutboundMessage, customer: Customer) -> None:
    """A sender that has claimed it, and not begun its call, loses it and so the old words."""
    name, about = "not_understood", customer.latest
    inbound = message.in_reply_to
    if message.kind != Kind.RE_PROMPT and inbound is not None and inbound.option is not None:
        name = inbound.outcome
        standing = Standing.LATE if name == Outcome.TOO_LATE else Standing.CLOSED
        about = Printed(option=inbound.option, standing=standing, asked_at=message.queued_at)
    if about is None or (text := _text(name, customer, about)) == message.text:
        return
    OutboundMessage.objects.filter(pk=message.pk).update(
        text=text,
        parts=messages.count_parts(text),
        booking=about.booking,
        notification=about.notification,
        valid_until=_valid_until(name, customer, about),
        claims=message.claims - (message.state == MessageState.SENDING),
        state=MessageState.QUEUED,
        token="",
        lease_until=None,
    )
    outbox.ring()


def _text(name: str, customer: Customer, about: Printed) -> str:
    booking, notification, language = about.booking, about.notification, about.booking.language
    now = timezone.now()
    left = offers.remaining(notification, now)
    others = [option for option in left if option.slot_id != booking.slot_id]
    write = functools.partial(
        messages.render,
        name,
        language,
        reference=booking.reference,
        where=messages.where(booking.slot, language),
        asked=messages.option_words(about.option.slot, notification.slot, language),
        remaining=messages.options_text(left, language),
        digits=messages.digits_text(others, language),
        until=messages.moment(about.closes_at, language),
        is_cancelled=not booking.is_scheduled,
        is_past=booking.slot.ends_at <= now,
    )
    text = write(open_options=lambda: _open_notifications(customer, messages.options_text, now))
    if messages.count_parts(text) <= _MOST_PARTS:
        return text
    return write(open_options=lambda: _open_notifications(customer, messages.digits_text, now))


def _open_notifications(
    customer: Customer, list_options: Callable[[list[SlotOption], str], str], now: dt.datetime
) -> str:
    """`Parcel AB12: 1 (Tue 24 Nov) or 2 (Thu 26 Nov), before Mon 23 Nov 21:00. Parcel CD34: 4 ...`"""
    return " ".join(
        messages.render(
            "open_notification",
            customer.language,
            reference=option.booking.reference,
            options=list_options(offers.remaining(option.notification, now), customer.language),
            until=messages.moment(option.closes_at, customer.language),
        )
        for option in customer.open_notifications
    )


def _valid_until(name: str, customer: Customer, about: Printed) -> dt.datetime:
    """The first cut-off of the notifications that it repeats; without any the end of the delivery.

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

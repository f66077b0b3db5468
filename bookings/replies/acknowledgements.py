"""Saying what became of a reply: the text, and its place in the outbox."""

import datetime as dt
import functools
from collections.abc import Callable
from typing import TypeAlias

from django.utils import timezone

from bookings import outbox
from bookings.language import messages
from bookings.models import (
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
    SlotOption,
)
from bookings.models.fields import as_msisdn
from bookings.replies.context import Customer, Printed, Standing, load_customer
from bookings.scheduling import offers

KINDS = {
    "not_understood": Kind.RE_PROMPT,
    "help": Kind.HELP,
    "opted_out": Kind.OPT_OUT_CONFIRMATION,
}

#: The most SMS parts of an answer: one that would take more names digits without their words.
_MOST_PARTS = 2

#: Looks up the options of a notification that can still be had at a moment.
Remaining: TypeAlias = Callable[[Notification, dt.datetime], list[SlotOption]]

#: For how long an answer that offers nothing is worth sending, at least.
LIFE = dt.timedelta(hours=24)


def say_about_texts(name: str, inbound: InboundMessage, customer: Customer) -> None:
    """Queue the text `name` about our texts themselves, from the number that was written to."""
    latest = customer.latest
    booking = latest.booking if latest else customer.newest_booking
    outbox.queue(
        KINDS.get(name, Kind.ACKNOWLEDGEMENT),
        messages.render(name, customer.language, reference=booking.reference),
        key=f"reply:{inbound.pk}",
        msisdn=customer.msisdn,
        sender=as_msisdn(inbound.virtual_number),
        in_reply_to=inbound,
        valid_until=timezone.now() + LIFE,
    )


def say(name: str, inbound: InboundMessage, customer: Customer, about: Printed) -> None:
    """Queue the text `name` about a delivery, from the number that was written to.

    One that tells where the delivery stands takes the place of older ones that still wait.
    """
    booking = about.booking
    kind = KINDS.get(name, Kind.ACKNOWLEDGEMENT)
    if kind == Kind.ACKNOWLEDGEMENT:
        older = OutboundMessage.objects.filter(booking=booking, in_reply_to__isnull=False)
        older.cancel("a newer answer took its place")
    outbox.queue(
        kind,
        text_of(name, customer, about, timezone.now()),
        key=f"reply:{inbound.pk}",
        msisdn=customer.msisdn,
        sender=as_msisdn(inbound.virtual_number),
        booking=booking,
        notification=about.notification,
        in_reply_to=inbound,
        valid_until=valid_until(name, customer, about, timezone.now()),
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
    if about is None or (text := text_of(name, customer, about, timezone.now())) == message.text:
        return
    OutboundMessage.objects.filter(pk=message.pk).update(
        text=text,
        parts=messages.count_parts(text),
        booking=about.booking,
        notification=about.notification,
        valid_until=valid_until(name, customer, about, timezone.now()),
        claims=message.claims - (message.state == MessageState.SENDING),
        state=MessageState.QUEUED,
        token="",
        lease_until=None,
    )
    outbox.ring()


def text_of(
    name: str,
    customer: Customer,
    about: Printed,
    now: dt.datetime,
    remaining: Remaining = offers.remaining,
) -> str:
    """Return the text `name` about a delivery. `remaining` looks up which options can still be had."""
    booking, notification, language = about.booking, about.notification, about.booking.language
    left = remaining(notification, now)
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

    def list_open(list_options: Callable[[list[SlotOption], str], str]) -> str:
        left_of_each = [remaining(line.notification, now) for line in customer.open_notifications]
        return _open_notifications(customer, left_of_each, list_options)

    text = write(open_options=lambda: list_open(messages.options_text))
    if messages.count_parts(text) <= _MOST_PARTS:
        return text
    return write(open_options=lambda: list_open(messages.digits_text))


def _open_notifications(
    customer: Customer,
    left_of_each: list[list[SlotOption]],
    list_options: Callable[[list[SlotOption], str], str],
) -> str:
    """`Parcel AB12: 1 (Tue 24 Nov) or 2 (Thu 26 Nov), before Mon 23 Nov 21:00. Parcel CD34: 4 ...`"""
    return " ".join(
        messages.render(
            "open_notification",
            customer.language,
            reference=option.booking.reference,
            options=list_options(left, customer.language),
            until=messages.moment(option.closes_at, customer.language),
        )
        for option, left in zip(customer.open_notifications, left_of_each, strict=True)
    )


def valid_until(name: str, customer: Customer, about: Printed, now: dt.datetime) -> dt.datetime:
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
        return max(about.booking.slot.ends_at, now + LIFE)
    return min(min(line.closes_at, line.option.slot.cutoff_at) for line in offered)

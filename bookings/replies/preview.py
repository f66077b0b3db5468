"""Previews of replies: load without locks, decide, and no apply."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.utils import timezone

from bookings.language import messages
from bookings.models import Booking, Notification, Outcome, Place, Slot, SlotOption
from bookings.replies.context import Customer, PrintedOption, ReplyContext, Standing, glance
from bookings.replies.effects import Decision, OpenTicket, Say
from bookings.replies.parser import WANTS_OUT, Choice, NotUnderstood, Reply, Words, parse_reply
from bookings.replies.rule import decide, name_of

#: The most texts that one page tries at once.
MOST_TEXTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The preview of one text."""

    text: str
    reading: str  # `Choice 2`, `Words "thursday"`, `Not understood`
    rule: str
    matched: str
    outcome: Outcome
    stands_for: str  # the option that is meant; "" if none is
    why: str  # a plain sentence


@dataclass(frozen=True, slots=True)
class Asked:
    """The context that pasted texts are tried against. Nobody has sent them."""

    context: ReplyContext
    customer: Customer

    @property
    def options(self) -> tuple[PrintedOption, ...]:
        """The options that the customer has read, by digit."""
        return self.customer.printed


def about(booking: Booking) -> Asked | None:
    """Return everything that this booking's customer has been asked, as it stands now; None if that is nothing."""
    context = glance(booking.msisdn, timezone.now())
    customer = context.customer
    return Asked(context, customer) if customer and customer.printed else None


def example(language: str) -> Asked:
    """Return a made-up notification: keep the day after tomorrow, another day two days later, or the post office."""
    now, today = timezone.now(), timezone.localdate()
    window = {"window_start": dt.time(10), "window_end": dt.time(12)}
    first, later = (today + dt.timedelta(days=days) for days in (2, 4))
    booked = Slot(pk=1, date=first, place=Place.DOOR, **window)
    offered = [
        booked,
        Slot(pk=2, date=later, place=Place.DOOR, **window),
        Slot(pk=3, date=first, place=Place.POST_OFFICE, **window),
    ]
    booking = Booking(pk=1, reference="EXAMPLE", slot=booked, language=language)
    notification = Notification(pk=1, booking=booking, slot=booked, closes_at=booked.cutoff_at)
    printed = tuple(
        PrintedOption(
            option=SlotOption(
                notification=notification,
                digit=digit,
                slot=slot,
                words=messages.option_words(slot, booked, language),
            ),
            standing=Standing.OPEN,
            asked_at=now,
            has_room=True,
        )
        for digit, slot in enumerate(offered, start=1)
    )
    customer = Customer(msisdn="", printed=printed, newest_booking=booking)
    nothing = NotUnderstood("no text")
    context = ReplyContext(now=now, text="", reply=nothing, received_at=now, customer=customer)
    return Asked(context, customer)


def attempt(written: Iterable[str], asked: Asked, language: str) -> list[Tried]:
    """Try each text by itself, as if it were the only one that comes. No text takes a query."""
    tried = []
    for text in written:
        context = replace(asked.context, text=text, reply=parse_reply(text, language))
        tried.append(_tried(context, decide(context)))
    return tried


def _tried(context: ReplyContext, decision: Decision) -> Tried:
    reply, meant = context.reply, decision.reading.meant
    return Tried(
        text=context.text,
        reading=_reading(reply),
        rule=reply.rule,
        matched=reply.matched,
        outcome=decision.outcome,
        stands_for=f"{meant.option.digit} = {meant.option.slot}" if meant else "",
        why=" ".join(filter(None, [_why_read(reply, meant), _why_so(decision, meant)])),
    )


def _reading(reply: Reply) -> str:
    match reply:
        case Choice(number=number):
            return f"Choice {number}"
        case Words(matched=matched):
            return f"Words \N{LEFT DOUBLE QUOTATION MARK}{matched}\N{RIGHT DOUBLE QUOTATION MARK}"
    return name_of(reply).capitalize()


_REFUSED = {
    "negation": "It contains a negation, so it could mean the opposite.",
    "question": "It asks a question.",
    "several numbers": "It contains several numbers.",
    "number that is no choice": "Its number may be a time, a date or a phone number.",
    "unknown words": "It contains unknown words.",
    "no answer in it": "It contains no choice.",
    "too long": "It is too long for a choice.",
    WANTS_OUT: "It may be an opt-out: a person decides.",
}


def _why_read(reply: Reply, meant: PrintedOption | None) -> str:
    match reply:
        case NotUnderstood(reason=reason):
            return _REFUSED.get(reason, f"Not read: {reason}.")
        case Choice(words=Words()) if meant is None:
            return "Its number and its words match different options."
        case Choice(number=number) if meant is None:
            return f"No option of this notification has the number {number}."
        case Words() if meant is None:
            return "Its words match no option, or more than one."
    return ""


_SO = {
    Outcome.MOVED: "Moves the delivery to {slot}.",
    Outcome.KEPT: "Keeps the delivery on {slot}.",
    Outcome.ALREADY: "The delivery is on {slot} already, by an earlier reply.",
    Outcome.FULL: "No change: {slot} is full.",
    Outcome.TOO_LATE: "No change: the deadline has passed.",
    Outcome.CLOSED: "No change: the notification is closed.",
    Outcome.NOT_UNDERSTOOD: "No change.",
    Outcome.THANKS: "Polite reply, no choice made. No change.",
    Outcome.CANCEL_ASKED: "CANCEL could mean the messages or the delivery. No change.",
    Outcome.OPTED_OUT: "Opts the number out.",
    Outcome.OPTED_IN: "Opts the number in again.",
    Outcome.HELP: "Sends the help text.",
    Outcome.NO_QUESTION: "No change: no notification is open.",
}


def _why_so(decision: Decision, meant: PrintedOption | None) -> str:
    said = _SO.get(decision.outcome, "").format(slot=meant.option.slot if meant else "")
    for effect in decision.effects:
        if isinstance(effect, OpenTicket):
            return f"{said} Needs attention: {effect.reason}"
    is_answered = any(isinstance(effect, Say) for effect in decision.effects)
    is_unclear = decision.outcome in {Outcome.NOT_UNDERSTOOD, Outcome.THANKS}
    return f"{said} Sends the options again." if is_unclear and is_answered else said

"""The rule: what a customer's text comes to. Pure: everything it asks stands in the context.

Screening, reading, consent, choice and limits are decided here and nowhere else.
"""

import re
from dataclasses import dataclass, replace

from bookings.models import Outcome, Slot, TicketKind
from bookings.models.inbound import CHOSEN
from bookings.replies import acknowledgements, multipart
from bookings.replies.acknowledgements import Answer
from bookings.replies.context import Customer, PrintedOption, ReplyContext, Standing
from bookings.replies.effects import (
    CancelAnswers,
    CancelReminders,
    CancelTexts,
    ChangeConsent,
    CloseTickets,
    Decision,
    Effect,
    JoinParts,
    MoveBooking,
    OpenTicket,
    Reading,
    Say,
    TicketScope,
)
from bookings.replies.parser import Cancel, Help, NotUnderstood, OptIn, OptOut, Reply, Thanks
from bookings.replies.screening import Doubt, find_doubt

#: Automatic answers to one number in 24 hours without a valid choice between them.
MOST_ANSWERS = 3

#: Moves of one booking by replies within ten minutes: from this number on a person asks whether it is the customer.
SUSPICIOUS_MOVES = 3

#: Outcomes that are about our texts, not about a delivery.
ABOUT_TEXTS = (Outcome.OPTED_OUT, Outcome.OPTED_IN, Outcome.HELP)

#: The kind of ticket of an outcome that a person must look at, unless the ruling names another; else unclear.
_TICKETS = {
    Outcome.TOO_LATE: TicketKind.LATE,
    Outcome.CLOSED: TicketKind.LATE,
    Outcome.UNKNOWN_SENDER: TicketKind.STRANGER,
    Outcome.NOT_OURS: TicketKind.STRANGER,
    Outcome.FULL: TicketKind.FULL,
    Outcome.CANCEL_ASKED: TicketKind.WANTS_OUT,
}

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

#: The decision about a text on which our software failed.
FAILED = Decision(
    Outcome.ERROR,
    Reading(),
    (
        CancelReminders(None),
        OpenTicket(TicketKind.BROKEN, "Software error. Process it again after the fix."),
    ),
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The outcome of a reply, its answer, and why a person must look at it; not yet put into effects."""

    outcome: Outcome
    answer: Answer = Answer.NOTHING
    attention: str = ""
    ticket: TicketKind | None = None  # the kind of ticket; None: the usual one of the outcome


def decide(context: ReplyContext) -> Decision:
    """Decide what a text comes to, what is said, and what a person must look at.

    1. Screening: texts of no customer's phone, incomplete parts, floods and ends of longer texts are not read.
    2. Reading: the parser's reply, and the option that it stands for.
    3. Consent, choice, limits.
    """
    doubt = find_doubt(context)
    ruling = _unread(context, doubt)
    reading = Reading(rule=doubt.rule if doubt else "")
    if ruling is not None:
        part = context.long_text
        if ruling.outcome == Outcome.PART and part is not None:
            reading = replace(reading, repeats=part.repeats)
    else:
        reply = _read(context, doubt)
        reading = _reading(reply, context)
        ruling = _rule(reply, reading.meant, context, doubt)
    ruling = _quiet_in_flood(ruling, doubt)
    reading = replace(reading, about=_about(ruling, reading, context))
    return Decision(ruling.outcome, reading, _effects(ruling, reading, context))


def name_of(reply: Reply) -> str:
    """Return the name of a reading as it is stored and shown: `choice`, `not understood`."""
    return _CAPITAL.sub(" ", type(reply).__name__).lower()


# --- screening and reading -----------------------------------------------------------------------


def _unread(context: ReplyContext, doubt: Doubt | None) -> Ruling | None:
    """Return the ruling about a text that is not read, or None if it is to be read."""
    if not context.is_from_a_phone:
        return Ruling(Outcome.UNKNOWN_SENDER, attention="Not sent from a customer's phone.")
    part = context.long_text
    if part is None:
        return None
    if doubt is not None:  # in a flood parts are not joined
        return Ruling(Outcome.NOT_UNDERSTOOD, attention=doubt.attention)
    if part.whole is None:
        return Ruling(Outcome.PART, attention=multipart.LATE if part.is_late else "")
    return None


def _read(context: ReplyContext, doubt: Doubt | None) -> Reply:
    """Return the parser's reply. In doubt only STOP and START are read."""
    if doubt and not isinstance(context.reply, OptOut | OptIn):
        return NotUnderstood(doubt.rule, rule=doubt.rule)
    return context.reply


def _reading(reply: Reply, context: ReplyContext) -> Reading:
    return Reading(
        name=name_of(reply),
        rule=reply.rule,
        matched=reply.matched,
        whole=(context.long_text.whole if context.long_text else None) or "",
        meant=context.find_meant(reply) if context.is_to_us else None,
    )


# --- the rule ------------------------------------------------------------------------------------


def _rule(
    reply: Reply, meant: PrintedOption | None, context: ReplyContext, doubt: Doubt | None
) -> Ruling:
    customer = context.customer
    if customer is None or not context.is_to_us:
        return _never_answered(reply, context)
    if doubt and not isinstance(reply, OptOut | OptIn):
        ruling = Ruling(Outcome.NOT_UNDERSTOOD, attention=doubt.attention)
    elif meant is not None:
        ruling = _choice(meant, customer, context)
    else:
        ruling = _no_choice(reply, customer)
    return _within_limits(ruling, customer)


def _never_answered(reply: Reply, context: ReplyContext) -> Ruling:
    """Rule on a text from a number that we never texted, or to a number that is not ours. A STOP counts even so."""
    if isinstance(reply, OptOut) or (isinstance(reply, Cancel) and context.customer is None):
        return Ruling(Outcome.OPTED_OUT)
    if isinstance(reply, OptIn):
        return Ruling(Outcome.OPTED_IN)
    if not context.is_to_us:
        return Ruling(Outcome.NOT_OURS, attention="Sent to a number that is not ours.")
    return Ruling(Outcome.UNKNOWN_SENDER, attention="No delivery found for this number.")


def _no_choice(reply: Reply, customer: Customer) -> Ruling:
    """Rule on a reply that stands for no option. A CANCEL with nothing open can only mean the texts."""
    match reply:
        case OptIn():
            return Ruling(Outcome.OPTED_IN, Answer.OPTED_IN)
        case Help():
            return Ruling(Outcome.HELP, Answer.HELP)
        case Cancel() if customer.open_options:
            why = "Replied CANCEL: opt out, or cancel the delivery?"
            return Ruling(Outcome.CANCEL_ASKED, Answer.CANCEL_ASKED, why)
        case OptOut() | Cancel():
            answer = Answer.NOTHING if customer.is_opted_out else Answer.OPTED_OUT
            return Ruling(Outcome.OPTED_OUT, answer)
        case NotUnderstood(wants_out=True):
            why = "Contains an opt-out word. Opt out?"
            return Ruling(Outcome.NOT_UNDERSTOOD, Answer.NOTHING, why, TicketKind.WANTS_OUT)
        case Thanks():
            is_settled = not customer.open_options or customer.has_chosen or customer.was_prompted
            return Ruling(Outcome.THANKS, Answer.NOTHING if is_settled else Answer.OPTIONS_AGAIN)
    return _unclear(customer)


def _unclear(customer: Customer) -> Ruling:
    """Repeat the options once; after that a person looks."""
    if not customer.open_options:
        return Ruling(Outcome.NO_QUESTION, attention="Sent when no notification was open.")
    if customer.was_prompted:
        why = "Unclear twice."
        return Ruling(Outcome.NOT_UNDERSTOOD, attention=why)
    return Ruling(Outcome.NOT_UNDERSTOOD, Answer.OPTIONS_AGAIN)


def _choice(meant: PrintedOption, customer: Customer, context: ReplyContext) -> Ruling:
    booking = meant.booking
    match meant.standing:
        case Standing.CLOSED:
            answer = Answer.NOTHING if booking.pk in context.told_closed else Answer.CLOSED
            return Ruling(Outcome.CLOSED, answer, "Replied to a closed notification.")
        case Standing.LATE:
            return Ruling(Outcome.TOO_LATE, Answer.TOO_LATE, "Replied too late.")
    if _is_overtaken(meant, context):
        return Ruling(Outcome.CLOSED, attention="Processed again, but a newer reply counts.")
    if meant.is_present:
        outcome = Outcome.ALREADY if meant.answered_at else Outcome.KEPT
        return Ruling(outcome, Answer(outcome))
    if meant.has_room:
        return _move(context.moves.get(booking.pk, 0))
    left = customer.remaining(meant.notification, booking.slot)
    has_others = any(option.slot_id != booking.slot_id for option in left)
    nothing_left = "" if has_others else "No other slot has room for this customer."
    return Ruling(Outcome.FULL, Answer.FULL, nothing_left)


def _is_overtaken(meant: PrintedOption, context: ReplyContext) -> bool:
    """Return True if the text is replayed and the notification has a newer answer."""
    answered_at = meant.answered_at
    has_newer = answered_at is not None and context.received_at < answered_at
    return has_newer and context.is_replayed


def _move(moves: int) -> Ruling:
    """Move the booking. After many moves a person looks, since the sender of an SMS can be forged."""
    if moves + 1 < SUSPICIOUS_MOVES:
        return Ruling(Outcome.MOVED, Answer.MOVED)
    why = "Moved three times in ten minutes. Is it really the customer?"
    return Ruling(Outcome.MOVED, Answer.MOVED, why, TicketKind.SUSPICIOUS)


def _within_limits(ruling: Ruling, customer: Customer) -> Ruling:
    """Say nothing about deliveries to a customer who opted out, and to nobody too many answers in a day."""
    outcome, ticket = ruling.outcome, None
    if not ruling.answer or outcome in ABOUT_TEXTS:
        return ruling
    if customer.is_opted_out:
        why, ticket = f"Opted out, so not answered: {outcome.label}.", TicketKind.OPTED_OUT
    elif outcome not in CHOSEN and customer.answers_in_a_row >= MOST_ANSWERS:
        why = f"Not answered: already {MOST_ANSWERS} automatic answers today."
    else:
        return ruling
    return Ruling(outcome, Answer.NOTHING, "" if outcome == Outcome.THANKS else why, ticket)


def _quiet_in_flood(ruling: Ruling, doubt: Doubt | None) -> Ruling:
    """In a flood answer nothing, and tell a person once."""
    if doubt is None or not doubt.is_flood:
        return ruling
    attention = ruling.attention and doubt.attention
    return Ruling(ruling.outcome, Answer.NOTHING, attention, TicketKind.SUSPICIOUS)


# --- effects -------------------------------------------------------------------------------------


def _about(ruling: Ruling, reading: Reading, context: ReplyContext) -> PrintedOption | None:
    """Return an option of the notification that the text is about; None if it is about no delivery."""
    is_read = bool(reading.name) and context.is_to_us and ruling.outcome not in ABOUT_TEXTS
    if context.customer is None or not is_read:
        return None
    return reading.meant or context.customer.latest


def _effects(ruling: Ruling, reading: Reading, context: ReplyContext) -> tuple[Effect, ...]:
    """Return what is to be written, in the order of the locks."""
    about, outcome = reading.about, ruling.outcome
    say = _say(ruling, about, context)
    effects: list[Effect] = []
    if outcome == Outcome.MOVED and about is not None:
        effects.append(CancelTexts(about.booking, "the customer moved the delivery"))
    elif say is not None and say.booking is not None and say.answer != Answer.OPTIONS_AGAIN:
        effects.append(CancelAnswers(say.booking))
    effects.append(CancelReminders(about.booking if about else None))
    if outcome in {Outcome.OPTED_OUT, Outcome.OPTED_IN}:
        effects.append(ChangeConsent(is_opted_out=outcome == Outcome.OPTED_OUT))
    if outcome == Outcome.MOVED and about is not None:
        effects.append(MoveBooking(about.booking, about.option.slot))
    if reading.name and context.long_text is not None:
        effects.append(JoinParts(tuple(part.pk for part in context.long_text.waiting)))
    if say is not None:
        effects.append(say)
    if outcome in CHOSEN:
        effects.append(CloseTickets(TicketScope.SETTLED_BY_CHOICE))
    if ruling.attention:
        kind = ruling.ticket or _TICKETS.get(outcome, TicketKind.UNCLEAR)
        effects.append(OpenTicket(kind, ruling.attention))
    elif context.is_replayed:
        effects.append(CloseTickets(TicketScope.OWN))
    return tuple(effects)


def _say(ruling: Ruling, about: PrintedOption | None, context: ReplyContext) -> Say | None:
    """Return the answer, written as the booking stands after the ruling."""
    answer, customer = ruling.answer, context.customer
    if not answer or customer is None:
        return None
    if ruling.outcome in ABOUT_TEXTS:
        text, until = acknowledgements.write_about_texts(answer, customer, context.now)
        return Say(answer=answer, text=text, valid_until=until)
    if about is None:
        return None
    is_moved = ruling.outcome == Outcome.MOVED
    booked: Slot = about.option.slot if is_moved else about.booking.slot
    text, until = acknowledgements.write(answer, customer, about, booked, context.now)
    return Say(
        answer=answer,
        text=text,
        valid_until=until,
        booking=about.booking,
        notification=about.notification,
    )

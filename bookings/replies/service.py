"""A customer's reply: what it means, what we decide, and the one transaction that carries it out.

Read this first. `decide` is the rule, pure; `answer` is the shell around it.
"""

import datetime as dt
import enum
import logging
import re
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.utils import timezone

from bookings.customers import consent, tickets
from bookings.language.tokens import DEFAULT_LANGUAGE
from bookings.models import (
    ChangeCause,
    InboundMessage,
    Kind,
    OutboundMessage,
    Outcome,
    TicketKind,
    lock_customer,
)
from bookings.models.fields import as_msisdn
from bookings.models.inbound import CHOSEN
from bookings.replies import acknowledgements, multipart
from bookings.replies.context import Customer, Printed, Standing, load_customer
from bookings.replies.measure import ReplyFacts, measure
from bookings.replies.parser import (
    Cancel,
    Help,
    NotUnderstood,
    OptIn,
    OptOut,
    Reply,
    Thanks,
    parse_reply,
)
from bookings.replies.screening import Doubt, find_doubt

logger = logging.getLogger(__name__)

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

#: Automatic answers to one number in 24 hours without a valid choice between them.
MOST_ANSWERS = 3

#: Moves of one booking by replies within ten minutes: from so many on a person looks whether it is the customer.
SUSPICIOUS_MOVES = 3


class Say(enum.StrEnum):
    """Which text answers a reply: its name in templates/sms/."""

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


#: About our texts, not about a delivery.
ABOUT_TEXTS = (Outcome.OPTED_OUT, Outcome.OPTED_IN, Outcome.HELP)


@dataclass(frozen=True, slots=True)
class Decision:
    """What we make of a reply."""

    outcome: Outcome
    say: Say = Say.NOTHING
    attention: str = ""  # why a person must look at it
    ticket: TicketKind | None = None  # as which kind; None: as the outcome says


def decide(reply: Reply, facts: ReplyFacts) -> Decision:
    """The rule. Pure: what a reply comes to, what is said, and whether a person must look at it."""
    decision = _within_limits(_decide(reply, facts), facts.customer)
    return _quiet_in_flood(decision, facts.doubt)


def _decide(reply: Reply, facts: ReplyFacts) -> Decision:
    customer = facts.customer
    if facts.doubt and not isinstance(reply, OptOut | OptIn):
        return Decision(Outcome.NOT_UNDERSTOOD, attention=facts.doubt.attention)
    match reply:
        case OptOut() | OptIn() | Help() | Cancel():
            return _about_texts(reply, customer)
        case NotUnderstood(wants_out=True):
            why = "An opt-out word among others: no more texts?"
            return Decision(Outcome.NOT_UNDERSTOOD, Say.NOTHING, why, TicketKind.WANTS_OUT)
        case Thanks():
            is_settled = not customer.open_options or customer.has_chosen or customer.was_prompted
            return Decision(Outcome.THANKS, Say.NOTHING if is_settled else Say.OPTIONS_AGAIN)
    return _choice(facts.meant, facts) if facts.meant else _unclear(customer)


def _about_texts(reply: OptOut | OptIn | Help | Cancel, customer: Customer) -> Decision:
    """STOP, START, HELP and CANCEL. A CANCEL with nothing open can only mean the texts."""
    match reply:
        case OptIn():
            return Decision(Outcome.OPTED_IN, Say.OPTED_IN)
        case Help():
            return Decision(Outcome.HELP, Say.HELP)
        case Cancel() if customer.open_options:
            return Decision(
                Outcome.CANCEL_ASKED, Say.CANCEL_ASKED, "Wrote CANCEL: the texts, or the delivery?"
            )
    return Decision(Outcome.OPTED_OUT, Say.NOTHING if customer.is_opted_out else Say.OPTED_OUT)


def _choice(meant: Printed, facts: ReplyFacts) -> Decision:
    match meant.standing:
        case Standing.CLOSED:
            say = Say.NOTHING if facts.was_told_closed else Say.CLOSED
            return Decision(Outcome.CLOSED, say, "Answered a notification that was closed.")
        case Standing.LATE:
            return Decision(Outcome.TOO_LATE, Say.TOO_LATE, "Answered too late.")
    if facts.is_overtaken:
        return Decision(Outcome.CLOSED, attention="Replayed, but a newer answer stands.")
    if meant.is_present:
        outcome = Outcome.ALREADY if meant.answered_at else Outcome.KEPT
        return Decision(outcome, Say(outcome))
    if facts.has_room:
        return Decision(Outcome.MOVED, Say.MOVED, *_suspicion(facts))
    nothing_left = "" if facts.has_others else "No other slot is free for this customer."
    return Decision(Outcome.FULL, Say.FULL, nothing_left)


def _suspicion(facts: ReplyFacts) -> tuple[str, TicketKind | None]:
    """The sender of an SMS can be forged, and nothing in it proves who wrote."""
    if facts.moves + 1 < SUSPICIOUS_MOVES:
        return "", None
    why = "Moved three times in ten minutes: is it really the customer?"
    return why, TicketKind.SUSPICIOUS


def _unclear(customer: Customer) -> Decision:
    """One re-prompt, then a person."""
    if not customer.open_options:
        return Decision(Outcome.NO_QUESTION, attention="Wrote without an open notification.")
    if customer.was_prompted:
        return Decision(
            Outcome.NOT_UNDERSTOOD, attention="Not understood, after the options were repeated."
        )
    return Decision(Outcome.NOT_UNDERSTOOD, Say.OPTIONS_AGAIN)


def _within_limits(decision: Decision, customer: Customer) -> Decision:
    """Nothing about deliveries to who opted out, and to nobody more than so many answers in a day."""
    outcome, ticket = decision.outcome, None
    if not decision.say or outcome in ABOUT_TEXTS:
        return decision
    if customer.is_opted_out:
        why, ticket = f"Opted out, so not told: {outcome.label}.", TicketKind.OPTED_OUT
    elif outcome not in CHOSEN and customer.answers_in_a_row >= MOST_ANSWERS:
        why = f"Not answered: {MOST_ANSWERS} automatic answers in a day."
    else:
        return decision
    return Decision(outcome, Say.NOTHING, "" if outcome == Outcome.THANKS else why, ticket)


def _quiet_in_flood(decision: Decision, doubt: Doubt | None) -> Decision:
    """In a flood nobody is answered, and a person hears of it once."""
    if doubt is None or not doubt.is_flood:
        return decision
    attention = decision.attention and doubt.attention
    return replace(decision, say=Say.NOTHING, attention=attention, ticket=TicketKind.SUSPICIOUS)


def answer(inbound: InboundMessage) -> None:
    """Read a stored message, decide, and carry it out, in the transaction of the caller.

    1. What is no customer's reply to us is kept and never answered.
    2. Lock what the customer's words can mean, then the slots that are meant. Parts wait for the whole.
    3. Decide; move the booking; queue the acknowledgement.

    A bug in the rule keeps the message, with outcome `error`, for `replay_inbound`. Database faults are raised.
    """
    try:
        with transaction.atomic():
            _answer(inbound, timezone.now())
    except (OperationalError, InterfaceError, InternalError):
        raise  # the webhook answers 503, and the gateway sends it again
    except Exception:  # a 500 would be sent again for a day, with the same end
        logger.exception("Inbound SMS %s: our rule failed on it (see replay_inbound)", inbound.pk)
        inbound.whole = ""  # with the savepoint its pieces came apart: a replay joins them again
        why = "Our software failed on it: replay it when it is mended."
        _close(inbound, Decision(Outcome.ERROR, attention=why))


def _answer(inbound: InboundMessage, now: dt.datetime) -> None:
    msisdn = as_msisdn(inbound.msisdn)
    lock_customer(msisdn)
    doubt = find_doubt(inbound)
    kept = _not_a_reply(inbound, msisdn, doubt)
    if kept is None:
        customer = load_customer(msisdn, now)
        reply = _read(inbound, customer.language if customer else DEFAULT_LANGUAGE, doubt)
        if customer is not None and _is_to_us(inbound):
            meant = customer.find_meant(reply, timezone.localdate(now))
            facts = measure(inbound, customer, meant, doubt, now)
            _carry_out(inbound, decide(reply, facts), facts)
            return
        kept = _never_answered(inbound, reply, customer, msisdn)
    _close(inbound, _quiet_in_flood(kept, doubt))


def _not_a_reply(inbound: InboundMessage, msisdn: str, doubt: Doubt | None) -> Decision | None:
    inbound.rule = doubt.rule if doubt else ""
    if not msisdn or msisdn in settings.VONAGE_NUMBERS:
        return Decision(Outcome.UNKNOWN_SENDER, attention="Sent by no customer's phone.")
    if inbound.part_number is None:
        return None
    if doubt is not None:  # nothing is put together in a flood
        return Decision(Outcome.NOT_UNDERSTOOD, attention=doubt.attention)
    if not multipart.join(inbound):
        return Decision(Outcome.PART, attention=multipart.attention_for(inbound))
    return None


def _is_to_us(inbound: InboundMessage) -> bool:
    return as_msisdn(inbound.virtual_number) in settings.VONAGE_NUMBERS


def _read(inbound: InboundMessage, language: str, doubt: Doubt | None) -> Reply:
    """Read the text, and keep which rule read it and what it matched."""
    reply: Reply = NotUnderstood("not a text", rule="not a text")
    if inbound.type != "binary":
        reply = parse_reply(inbound.said, language)
    if doubt and not isinstance(reply, OptOut | OptIn):
        reply = NotUnderstood(doubt.rule, rule=doubt.rule)
    inbound.reading = name_of(reply)
    inbound.rule = reply.rule
    inbound.matched = reply.matched[:160]
    return reply


def name_of(reply: Reply) -> str:
    """As it is stored and shown: `choice`, `not understood`."""
    return _CAPITAL.sub(" ", type(reply).__name__).lower()


def _never_answered(
    inbound: InboundMessage, reply: Reply, customer: Customer | None, msisdn: str
) -> Decision:
    """From somebody we never texted, or to a number that is not ours. But a STOP is a STOP."""
    wants_out = isinstance(reply, OptOut) or (isinstance(reply, Cancel) and customer is None)
    if wants_out or isinstance(reply, OptIn):
        consent.write(inbound, msisdn, is_opted_out=wants_out)
        return Decision(Outcome.OPTED_OUT if wants_out else Outcome.OPTED_IN)
    if not _is_to_us(inbound):
        return Decision(Outcome.NOT_OURS, attention="Sent to a number that is not ours.")
    return Decision(Outcome.UNKNOWN_SENDER, attention="We know no delivery for this number.")


def _carry_out(inbound: InboundMessage, decision: Decision, facts: ReplyFacts) -> None:
    customer, meant = facts.customer, facts.meant
    if decision.outcome in ABOUT_TEXTS:
        _carry_out_about_texts(inbound, decision, customer)
        return
    about = meant or customer.latest
    if about is not None:
        inbound.booking, inbound.notification = about.booking, about.notification
        inbound.option = meant.option if meant else None
        inbound.chose = meant.option.meaning if meant else ""
        if decision.outcome == Outcome.MOVED:
            _move(about, inbound)
        if decision.say:
            acknowledgements.say(decision.say, inbound, customer, about)
        if decision.outcome in CHOSEN:
            tickets.overtake_by_choice(inbound)
    _close(inbound, decision)


def _carry_out_about_texts(inbound: InboundMessage, decision: Decision, customer: Customer) -> None:
    if decision.outcome != Outcome.HELP:
        is_opted_out = decision.outcome == Outcome.OPTED_OUT
        consent.write(inbound, customer.msisdn, is_opted_out=is_opted_out)
    if decision.say:
        acknowledgements.say_about_texts(decision.say, inbound, customer)
    _close(inbound, decision)


def _move(meant: Printed, inbound: InboundMessage) -> None:
    tickets.cancel_texts_about(meant.booking, "the customer moved the delivery")
    meant.booking.move_to(meant.option.slot, ChangeCause.REPLY, inbound=inbound)


def _close(inbound: InboundMessage, decision: Decision) -> None:
    was_closed = bool(inbound.outcome)  # it is replayed, and may need nobody any more
    inbound.outcome, inbound.attention = decision.outcome, decision.attention
    inbound.save()
    if decision.attention or was_closed:
        kind = decision.ticket or tickets.kind_of(decision.outcome)
        tickets.raise_for_inbound(inbound, kind)
    _drop_reminders(inbound)
    logger.info("Inbound SMS %s: %s", inbound.pk, decision.outcome)


def _drop_reminders(inbound: InboundMessage) -> None:
    """Whoever has written is not silent any more."""
    waiting = OutboundMessage.objects.filter(kind=Kind.REMINDER, msisdn=as_msisdn(inbound.msisdn))
    if inbound.booking_id:
        waiting = waiting.filter(booking=inbound.booking_id)
    waiting.cancel("the customer has written")

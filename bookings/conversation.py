"""A customer's reply: what it means, what we decide, and the one transaction that carries it out.

Read this first. `decide` is the rule, pure; `answer` is the shell around it.
"""

import datetime as dt
import enum
import logging
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from bookings import acknowledgements, options
from bookings.customers import Customer, Printed, Standing, load_customer
from bookings.models import (
    Booking,
    ChangeCause,
    Consent,
    InboundMessage,
    OutboundMessage,
    Outcome,
    Slot,
    lock_customer,
)
from bookings.models.fields import as_msisdn
from bookings.replies import (
    Cancel,
    Choice,
    Help,
    NotUnderstood,
    OptIn,
    OptOut,
    Reply,
    Thanks,
    Words,
    parse_reply,
)

logger = logging.getLogger(__name__)

#: Automatic answers to one number in 24 hours without a valid choice between them.
MOST_ANSWERS = 3


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a reply is measured against: all that this customer was asked, and the one option that is meant."""

    customer: Customer
    meant: Printed | None = None
    has_room: bool = False  # in the slot that is meant, for this booking
    has_others: bool = True  # slots of the same question, besides the one that the booking is in


@dataclass(frozen=True, slots=True)
class Decision:
    """What we make of a reply."""

    outcome: Outcome
    say: Say = Say.NOTHING
    attention: str = ""  # why a person must look at it


def find_meant(reply: Reply, customer: Customer, today: dt.date) -> Printed | None:
    """The option that a reply stands for, or None.

    A digit means the latest question that printed it, open or not. Words must fit one open option, and only one.
    """
    match reply:
        case Choice(number=number, words=words):
            option = customer.printed_as(number)
            fits = option is not None and (words is None or option.fits(words, today))
            return option if fits else None
        case Words():
            fitting = [option for option in customer.open_options if option.fits(reply, today)]
            return fitting[0] if len(fitting) == 1 else None
    return None


def decide(reply: Reply, question: Question) -> Decision:
    """The rule. Pure: what a reply comes to, what is said, and whether a person must look at it."""
    customer = question.customer
    match reply:
        case OptOut() | OptIn() | Help() | Cancel():
            return _about_texts(reply, customer)
        case NotUnderstood(wants_out=True):
            return Decision(
                Outcome.NOT_UNDERSTOOD, attention="An opt-out word among others: no more texts?"
            )
        case Thanks():
            is_answered = not customer.open_options or customer.has_chosen or customer.was_prompted
            return Decision(Outcome.THANKS, Say.NOTHING if is_answered else Say.OPTIONS_AGAIN)
    return _choice(question.meant, question) if question.meant else _unclear(customer)


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


def _choice(meant: Printed, question: Question) -> Decision:
    if meant.standing == Standing.CLOSED:
        return Decision(Outcome.CLOSED, Say.CLOSED, "Answered a question that was closed.")
    if meant.standing == Standing.LATE:
        return Decision(Outcome.TOO_LATE, Say.TOO_LATE, "Answered too late.")
    if meant.is_present:
        outcome = Outcome.ALREADY if meant.was_answered else Outcome.KEPT
        return Decision(outcome, Say(outcome))
    if question.has_room:
        return Decision(Outcome.MOVED, Say.MOVED)
    nothing_left = "" if question.has_others else "No other slot is free for this customer."
    return Decision(Outcome.FULL, Say.FULL, nothing_left)


def _unclear(customer: Customer) -> Decision:
    """One re-prompt, then a person."""
    if not customer.open_options:
        return Decision(Outcome.NO_QUESTION, attention="Wrote without an open question.")
    if customer.was_prompted:
        return Decision(
            Outcome.NOT_UNDERSTOOD, attention="Not understood, after the options were repeated."
        )
    return Decision(Outcome.NOT_UNDERSTOOD, Say.OPTIONS_AGAIN)


def _within_limits(decision: Decision, customer: Customer) -> Decision:
    """What we may say: nothing about deliveries to who opted out, and no more than so many answers in a day."""
    outcome = decision.outcome
    if decision.say in {Say.NOTHING, Say.OPTED_OUT, Say.OPTED_IN, Say.HELP}:
        return decision
    if customer.is_opted_out:
        return Decision(outcome, attention=f"Opted out, so not told: {outcome.label}.")
    if (
        decision.say not in {Say.MOVED, Say.KEPT, Say.ALREADY}
        and customer.answers_in_a_row >= MOST_ANSWERS
    ):
        return Decision(
            outcome, attention=f"Not answered: {MOST_ANSWERS} automatic answers in a day."
        )
    return decision


def answer(inbound: InboundMessage) -> None:
    """Read a stored message, decide, and carry it out, in the transaction of the caller.

    1. What is no customer's reply to us is kept and never answered.
    2. Lock what the customer's words can mean, then the slots that are meant.
    3. Decide; move the booking; queue the acknowledgement.

    A bug in the rule keeps the message, with outcome `error`, for `replay_inbound`. Database faults are raised.
    """
    try:
        with transaction.atomic():
            _answer(inbound, timezone.now())
    except (OperationalError, InterfaceError):
        raise  # the webhook answers 503, and the gateway sends it again
    except Exception:  # a 500 would be sent again for a day, with the same end
        logger.exception("Inbound SMS %s: our rule failed on it (see replay_inbound)", inbound.pk)
        _close(
            inbound,
            Decision(
                Outcome.ERROR, attention="Our software failed on it: replay it when it is mended."
            ),
        )


def _answer(inbound: InboundMessage, now: dt.datetime) -> None:
    msisdn = as_msisdn(inbound.msisdn)
    refusal = _not_a_reply(inbound, msisdn)
    if refusal is not None:
        _close(inbound, refusal)
        return
    lock_customer(msisdn)
    customer = load_customer(msisdn, now)
    reply = _read(inbound, customer.language)
    if not customer.is_known:
        _stranger(inbound, reply, msisdn)
        return
    meant = find_meant(reply, customer, timezone.localdate(now))
    question = _with_room(Question(customer=customer, meant=meant), now)
    decision = _within_limits(decide(reply, question), customer)
    _carry_out(inbound, decision, question)


def _not_a_reply(inbound: InboundMessage, msisdn: str) -> Decision | None:
    if as_msisdn(inbound.virtual_number) not in settings.VONAGE_NUMBERS:
        return Decision(Outcome.NOT_OURS, attention="Sent to a number that is not ours.")
    if not msisdn or msisdn in settings.VONAGE_NUMBERS:
        return Decision(
            Outcome.UNKNOWN_SENDER, attention="Sent by something that is no customer's phone."
        )
    if inbound.part_number is not None:
        return Decision(Outcome.PART, attention="Part of a long text.")
    return None


def _read(inbound: InboundMessage, language: str) -> Reply:
    """Read the text, and keep which rule read it and what it matched."""
    reply: Reply = NotUnderstood("not a text", rule="not a text")
    if inbound.type != "binary":
        reply = parse_reply(inbound.text, language)
    inbound.reading, inbound.rule, inbound.matched = (
        type(reply).__name__,
        reply.rule,
        reply.matched[:160],
    )
    return reply


def _stranger(inbound: InboundMessage, reply: Reply, msisdn: str) -> None:
    """Somebody we never texted is not answered, but a STOP is a STOP."""
    if isinstance(reply, OptOut):
        Consent.objects.record(msisdn, is_opted_out=True, words=inbound.text, inbound=inbound)
        _close(inbound, Decision(Outcome.OPTED_OUT))
    else:
        _close(
            inbound,
            Decision(Outcome.UNKNOWN_SENDER, attention="We know no delivery for this number."),
        )


def _with_room(question: Question, now: dt.datetime) -> Question:
    """Lock the slots that are meant, and see whether the new one has room, and if not, which others have."""
    meant = question.meant
    if meant is None or meant.standing != Standing.OPEN or meant.is_present:
        return question
    booking = meant.booking
    slots = Slot.objects.filter(pk__in=[meant.option.slot_id, booking.slot_id]).locked()
    new = next(slot for slot in slots if slot.pk == meant.option.slot_id)
    if new.has_room(for_booking=booking):
        return replace(question, has_room=True)
    left = options.remaining(meant.notification, now)
    return replace(question, has_others=any(option.slot_id != booking.slot_id for option in left))


def _carry_out(inbound: InboundMessage, decision: Decision, question: Question) -> None:
    customer, meant = question.customer, question.meant
    about = meant or customer.latest
    if about is not None:
        inbound.booking, inbound.notification = about.booking, about.notification
        inbound.option = meant.option if meant else None
    match decision.outcome:
        case Outcome.MOVED if meant is not None:
            _move(meant, inbound)
        case Outcome.OPTED_OUT | Outcome.OPTED_IN:
            _consent(inbound, customer, is_opted_out=decision.outcome == Outcome.OPTED_OUT)
    if decision.say:
        acknowledgements.say(decision.say, inbound, customer, about)
    _close(inbound, decision)


def _consent(inbound: InboundMessage, customer: Customer, *, is_opted_out: bool) -> None:
    if is_opted_out:
        OutboundMessage.objects.filter(msisdn=customer.msisdn).cancel("the customer opted out")
    Consent.objects.record(
        customer.msisdn, is_opted_out=is_opted_out, words=inbound.text, inbound=inbound
    )


def _move(meant: Printed, inbound: InboundMessage) -> None:
    booking: Booking = meant.booking
    OutboundMessage.objects.filter(booking=booking).cancel("the customer moved the delivery")
    booking.move_to(meant.option.slot, ChangeCause.REPLY, inbound=inbound)


def _close(inbound: InboundMessage, decision: Decision) -> None:
    inbound.outcome, inbound.attention = decision.outcome, decision.attention
    inbound.save()
    logger.info("Inbound SMS %s: %s", inbound.pk, decision.outcome)

"""The rule, line by line: a reply, what it is measured against, and the decision."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from bookings.models import Booking, Notification, Outcome, Slot, SlotOption, TicketKind
from bookings.replies.context import Customer, Printed, Standing
from bookings.replies.measure import ReplyFacts
from bookings.replies.parser import (
    Cancel,
    Choice,
    Help,
    NotUnderstood,
    OptIn,
    OptOut,
    Thanks,
    Words,
)
from bookings.replies.screening import LONGER, TOO_MANY, Doubt
from bookings.replies.service import MOST_ANSWERS, Decision, Say, decide

ASKED_AT = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)
LATER = ASKED_AT + dt.timedelta(minutes=5)

BOOKED, OTHER = (
    Slot(pk=day, date=dt.date(2026, 11, day), window_start=dt.time(9), window_end=dt.time(12))
    for day in (24, 26)
)
BOOKING = Booking(pk=1, reference="A1", msisdn="447700900123", slot=BOOKED)
NOTIFICATION = Notification(pk=1, booking=BOOKING, slot=BOOKED, closes_at=LATER)


def printed(digit: int, slot: Slot, standing: Standing = Standing.OPEN) -> Printed:
    option = SlotOption(digit=digit, slot=slot, notification=NOTIFICATION)
    return Printed(option=option, standing=standing, asked_at=ASKED_AT)


KEEP, MOVE = printed(1, BOOKED), printed(2, OTHER)
LATE, GONE = printed(2, OTHER, Standing.LATE), printed(2, OTHER, Standing.CLOSED)
ANSWERED = replace(KEEP, answered_at=LATER)

ASKED = Customer(msisdn="447700900123", printed=(KEEP, MOVE), newest_booking=BOOKING)
CHOSEN = replace(ASKED, printed=(ANSWERED, replace(MOVE, answered_at=LATER)))
PROMPTED = replace(ASKED, was_prompted=True)
NOT_ASKED = replace(ASKED, printed=())
OUT = replace(ASKED, is_opted_out=True)
TOLD_OFTEN = replace(ASKED, answers_in_a_row=MOST_ANSWERS)


def about(meant: Printed | None, customer: Customer = ASKED, **facts: Any) -> ReplyFacts:
    return ReplyFacts(customer=customer, meant=meant, **facts)


def nothing(customer: Customer = ASKED) -> ReplyFacts:
    return about(None, customer)


ONE, TWO, HUH, THANKS = Choice(1), Choice(2), NotUnderstood("unknown words"), Thanks()
STOP_2 = NotUnderstood("opt-out word among others", wants_out=True)

FIRST, FLOOD, END = Doubt(TOO_MANY, "why"), Doubt(TOO_MANY, ""), Doubt(LONGER, "why")
MAY_BE_ANYTHING = about(MOVE, has_room=True, doubt=END)

QUIET, WORK = False, True  # whether a person must look at it
RULE = {
    # a choice
    "the present slot": (ONE, about(KEEP), Outcome.KEPT, Say.KEPT, QUIET),
    "the present slot again": (ONE, about(ANSWERED), Outcome.ALREADY, Say.ALREADY, QUIET),
    "another with room": (TWO, about(MOVE, has_room=True), Outcome.MOVED, Say.MOVED, QUIET),
    "printed words": (
        Words(weekday=3),
        about(MOVE, has_room=True),
        Outcome.MOVED,
        Say.MOVED,
        QUIET,
    ),
    "another without room": (TWO, about(MOVE), Outcome.FULL, Say.FULL, QUIET),
    "nothing else is left": (TWO, about(MOVE, has_others=False), Outcome.FULL, Say.FULL, WORK),
    "too late": (TWO, about(LATE), Outcome.TOO_LATE, Say.TOO_LATE, WORK),
    "too late, though there is room": (
        TWO,
        about(LATE, has_room=True),
        Outcome.TOO_LATE,
        Say.TOO_LATE,
        WORK,
    ),
    "closed": (TWO, about(GONE, has_room=True), Outcome.CLOSED, Say.CLOSED, WORK),
    "replayed after a newer answer": (
        TWO,
        about(MOVE, has_room=True, is_overtaken=True),
        Outcome.CLOSED,
        Say.NOTHING,
        WORK,
    ),
    # what is no choice
    "unclear": (HUH, nothing(), Outcome.NOT_UNDERSTOOD, Say.OPTIONS_AGAIN, QUIET),
    "unclear again": (HUH, nothing(PROMPTED), Outcome.NOT_UNDERSTOOD, Say.NOTHING, WORK),
    "unclear, nothing asked": (HUH, nothing(NOT_ASKED), Outcome.NO_QUESTION, Say.NOTHING, WORK),
    "a digit never printed": (
        Choice(9),
        nothing(),
        Outcome.NOT_UNDERSTOOD,
        Say.OPTIONS_AGAIN,
        QUIET,
    ),
    "words that fit no one option": (
        Words(place="door"),
        nothing(),
        Outcome.NOT_UNDERSTOOD,
        Say.OPTIONS_AGAIN,
        QUIET,
    ),
    "thanks before a choice": (THANKS, nothing(), Outcome.THANKS, Say.OPTIONS_AGAIN, QUIET),
    "thanks before a choice, again": (
        THANKS,
        nothing(PROMPTED),
        Outcome.THANKS,
        Say.NOTHING,
        QUIET,
    ),
    "thanks after a choice": (THANKS, nothing(CHOSEN), Outcome.THANKS, Say.NOTHING, QUIET),
    "thanks, nothing asked": (THANKS, nothing(NOT_ASKED), Outcome.THANKS, Say.NOTHING, QUIET),
    # about our texts
    "stop": (OptOut(), nothing(), Outcome.OPTED_OUT, Say.OPTED_OUT, QUIET),
    "stop again": (OptOut(), nothing(OUT), Outcome.OPTED_OUT, Say.NOTHING, QUIET),
    "stop among others": (STOP_2, nothing(), Outcome.NOT_UNDERSTOOD, Say.NOTHING, WORK),
    "start": (OptIn(), nothing(OUT), Outcome.OPTED_IN, Say.OPTED_IN, QUIET),
    "help": (Help(), nothing(), Outcome.HELP, Say.HELP, QUIET),
    "help, nothing asked": (Help(), nothing(NOT_ASKED), Outcome.HELP, Say.HELP, QUIET),
    "help from who opted out": (Help(), nothing(OUT), Outcome.HELP, Say.HELP, QUIET),
    "cancel": (Cancel(), nothing(), Outcome.CANCEL_ASKED, Say.CANCEL_ASKED, WORK),
    "cancel, nothing asked": (
        Cancel(),
        nothing(NOT_ASKED),
        Outcome.OPTED_OUT,
        Say.OPTED_OUT,
        QUIET,
    ),
    # nothing about deliveries to who opted out
    "a choice from who opted out": (
        TWO,
        about(MOVE, OUT, has_room=True),
        Outcome.MOVED,
        Say.NOTHING,
        WORK,
    ),
    "unclear from who opted out": (HUH, nothing(OUT), Outcome.NOT_UNDERSTOOD, Say.NOTHING, WORK),
    "yes from who opted out": (THANKS, nothing(OUT), Outcome.THANKS, Say.NOTHING, QUIET),
    # so many automatic answers, and no more
    "too late, told often": (
        TWO,
        about(LATE, TOLD_OFTEN),
        Outcome.TOO_LATE,
        Say.NOTHING,
        WORK,
    ),
    "full, told often": (TWO, about(MOVE, TOLD_OFTEN), Outcome.FULL, Say.NOTHING, WORK),
    "unclear, told often": (HUH, nothing(TOLD_OFTEN), Outcome.NOT_UNDERSTOOD, Say.NOTHING, WORK),
    "thanks, told often": (THANKS, nothing(TOLD_OFTEN), Outcome.THANKS, Say.NOTHING, QUIET),
    "cancel, told often": (
        Cancel(),
        nothing(TOLD_OFTEN),
        Outcome.CANCEL_ASKED,
        Say.NOTHING,
        WORK,
    ),
    "a valid choice, told often": (
        TWO,
        about(MOVE, TOLD_OFTEN, has_room=True),
        Outcome.MOVED,
        Say.MOVED,
        QUIET,
    ),
    "stop, told often": (OptOut(), nothing(TOLD_OFTEN), Outcome.OPTED_OUT, Say.OPTED_OUT, QUIET),
    # what is not read as a choice, whatever it says
    "too many texts, the first": (
        TWO,
        about(MOVE, has_room=True, doubt=FIRST),
        Outcome.NOT_UNDERSTOOD,
        Say.NOTHING,
        WORK,
    ),
    "too many texts": (HUH, about(None, doubt=FLOOD), Outcome.NOT_UNDERSTOOD, Say.NOTHING, QUIET),
    "stop, too many": (OptOut(), about(None, doubt=FIRST), Outcome.OPTED_OUT, Say.NOTHING, QUIET),
    "start, too many": (OptIn(), about(None, doubt=FIRST), Outcome.OPTED_IN, Say.NOTHING, QUIET),
    "help, too many": (
        Help(),
        about(None, doubt=FLOOD),
        Outcome.NOT_UNDERSTOOD,
        Say.NOTHING,
        QUIET,
    ),
    "the end of a longer text": (TWO, MAY_BE_ANYTHING, Outcome.NOT_UNDERSTOOD, Say.NOTHING, WORK),
    "stop at the end": (OptOut(), MAY_BE_ANYTHING, Outcome.OPTED_OUT, Say.OPTED_OUT, QUIET),
    # forged senders, and what an answer costs
    "the third move": (
        TWO,
        about(MOVE, has_room=True, moves=2),
        Outcome.MOVED,
        Say.MOVED,
        WORK,
    ),
    "the second move": (
        TWO,
        about(MOVE, has_room=True, moves=1),
        Outcome.MOVED,
        Say.MOVED,
        QUIET,
    ),
    "closed, and told so": (
        TWO,
        about(GONE, was_told_closed=True),
        Outcome.CLOSED,
        Say.NOTHING,
        WORK,
    ),
    "help, told often": (Help(), nothing(TOLD_OFTEN), Outcome.HELP, Say.HELP, QUIET),
}


@pytest.mark.parametrize(
    ("reply", "notification", "outcome", "say", "work"), RULE.values(), ids=RULE
)
def test_the_rule(reply, notification, outcome, say, work):
    decision = decide(reply, notification)
    assert (decision.outcome, decision.say, bool(decision.attention)) == (outcome, say, work)


def test_the_table_holds_everything_that_can_be_said_and_every_outcome_of_a_customers_reply():
    made_before_the_rule = {
        Outcome.UNKNOWN_SENDER,
        Outcome.NOT_OURS,
        Outcome.PART,
        Outcome.ERROR,
    }
    assert {say for _, _, _, say, _ in RULE.values()} == set(Say)
    assert {row[2] for row in RULE.values()} == set(Outcome) - made_before_the_rule


def test_who_is_told_nothing_is_shown_to_staff_with_the_reason():
    moved = decide(TWO, about(MOVE, OUT, has_room=True))
    why = "Opted out, so not told: moved."
    assert moved == Decision(Outcome.MOVED, Say.NOTHING, why, TicketKind.OPTED_OUT)


def test_thanks_for_an_older_choice_is_no_answer_to_a_newer_notification():
    newer = replace(MOVE, asked_at=LATER + dt.timedelta(hours=1))
    customer = replace(ASKED, printed=(ANSWERED, newer))
    assert decide(THANKS, nothing(customer)).say == Say.OPTIONS_AGAIN


TODAY = dt.date(2026, 11, 23)
PRESENT, THURSDAY = KEEP, MOVE
MEANT = {
    "a digit": (Choice(2), MOVE),
    "a digit that was never printed": (Choice(5), None),
    "a digit with its words": (Choice(2, Words(weekday=3)), MOVE),
    "a digit with other words": (Choice(2, Words(weekday=1)), None),
    "a weekday": (Words(weekday=3), MOVE),
    "a weekday that was not printed": (Words(weekday=4), None),
    "a date": (Words(day=26, month=11), MOVE),
    "a date of another month": (Words(day=26, month=12), None),
    "tomorrow": (Words(relative="tomorrow"), KEEP),
    "today": (Words(relative="today"), None),
    "tomorrow with a wrong date": (Words(relative="tomorrow", day=26), None),
    "a date and its window": (Words(day=26, month=11, window="09:00-12:00"), MOVE),
    "a date and another window": (Words(day=26, month=11, window="10:00-12:00"), None),
    "the door: that is both": (Words(place="door"), None),
    "the post office: not printed": (Words(place="post_office"), None),
    "thanks": (Thanks(), None),
}


@pytest.mark.parametrize(("reply", "option"), MEANT.values(), ids=MEANT)
def test_which_option_is_meant(reply, option):
    assert ASKED.find_meant(reply, TODAY) == option


@pytest.mark.parametrize(
    "reply", [Words(relative="tomorrow"), Choice(2, Words(relative="tomorrow"))]
)
def test_tomorrow_is_read_only_on_the_day_of_the_text(reply):
    # On Wednesday, Thursday is tomorrow: but the text, read on Monday, did not say so.
    assert ASKED.find_meant(reply, dt.date(2026, 11, 25)) is None


def test_a_digit_of_a_closed_notification_is_still_known_but_its_words_are_not():
    customer = replace(ASKED, printed=(GONE,))
    assert customer.find_meant(Choice(2), TODAY) == GONE
    assert customer.find_meant(Words(weekday=3), TODAY) is None

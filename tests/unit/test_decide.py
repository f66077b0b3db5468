"""The rule as a table: a text, the facts about its customer, and the decision."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings

from bookings.models import Booking, Notification, Outcome, Slot, SlotOption, TicketKind
from bookings.replies.acknowledgements import Answer
from bookings.replies.context import (
    Customer,
    EarlierText,
    PrintedOption,
    ReplyContext,
    Standing,
)
from bookings.replies.effects import (
    CancelAnswers,
    CancelReminders,
    CancelTexts,
    ChangeConsent,
    CloseTickets,
    Decision,
    JoinParts,
    MoveBooking,
    OpenTicket,
    Say,
    TicketScope,
)
from bookings.replies.multipart import LATE as LATE_PART
from bookings.replies.multipart import LongText, Piece
from bookings.replies.parser import Choice, NotUnderstood, Reply, Thanks, Words, parse_reply
from bookings.replies.rule import FAILED, MOST_ANSWERS, decide
from bookings.replies.screening import LONGER, MOST_TEXTS, TOO_MANY

ASKED_AT = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)
LATER = ASKED_AT + dt.timedelta(minutes=5)
NOW = ASKED_AT + dt.timedelta(minutes=10)

BOOKED, OTHER, THIRD = (
    Slot(pk=day, date=dt.date(2026, 11, day), window_start=dt.time(9), window_end=dt.time(12))
    for day in (24, 26, 27)
)
BOOKING = Booking(pk=1, reference="A1", msisdn="447700900123", slot=BOOKED)
NOTIFICATION = Notification(pk=1, booking=BOOKING, slot=BOOKED, closes_at=BOOKED.cutoff_at)


def printed(
    digit: int, slot: Slot, standing: Standing = Standing.OPEN, *, has_room: bool = True
) -> PrintedOption:
    option = SlotOption(pk=digit, digit=digit, slot=slot, notification=NOTIFICATION)
    return PrintedOption(option=option, standing=standing, asked_at=ASKED_AT, has_room=has_room)


KEEP, MOVE, MOVE_LATER = printed(1, BOOKED), printed(2, OTHER), printed(3, THIRD)
LATE, GONE = printed(2, OTHER, Standing.LATE), printed(2, OTHER, Standing.CLOSED)
ANSWERED = replace(KEEP, answered_at=LATER)

ASKED = Customer(msisdn="447700900123", printed=(KEEP, MOVE), newest_booking=BOOKING)
CHOSEN = replace(ASKED, printed=(ANSWERED, replace(MOVE, answered_at=LATER)))
PROMPTED = replace(ASKED, was_prompted=True)
NOT_ASKED = replace(ASKED, printed=())
OUT = replace(ASKED, is_opted_out=True)
NO_ROOM = printed(2, OTHER, has_room=False)
FULL = replace(ASKED, printed=(KEEP, NO_ROOM, MOVE_LATER))
NOTHING_LEFT = replace(ASKED, printed=(KEEP, NO_ROOM))
TOO_LATE, CLOSED = (replace(ASKED, printed=(option,)) for option in (LATE, GONE))


def told_often(customer: Customer) -> Customer:
    return replace(customer, answers_in_a_row=MOST_ANSWERS)


def earlier(text: str = "hello", rule: str = "unknown words") -> EarlierText:
    return EarlierText(received_at=ASKED_AT, text=text, virtual_number="", is_part=False, rule=rule)


FIRST = {"earlier": (earlier(),) * MOST_TEXTS}
FLOOD = {"earlier": (earlier(rule=TOO_MANY),) + (earlier(),) * MOST_TEXTS}
END = {"earlier": (replace(earlier("x" * 160), received_at=NOW),)}


def context(text: str, customer: Customer | None = ASKED, **facts: Any) -> ReplyContext:
    values: dict[str, Any] = {
        "now": NOW,
        "received_at": NOW,
        "text": text,
        "reply": parse_reply(text),
        "customer": customer,
    } | facts
    return ReplyContext(**values)


def answer_of(decision: Decision) -> Answer:
    said = [effect.answer for effect in decision.effects if isinstance(effect, Say)]
    assert len(said) <= 1
    return said[0] if said else Answer.NOTHING


def tickets_of(decision: Decision) -> list[OpenTicket]:
    return [effect for effect in decision.effects if isinstance(effect, OpenTicket)]


HUH = "where is my parcel"
NONE: dict[str, Any] = {}
QUIET, WORK = False, True  # whether a person must look at it
RULE: dict[str, tuple[str, Customer, dict[str, Any], Outcome, Answer, bool]] = {
    # a choice
    "the present slot": ("1", ASKED, NONE, Outcome.KEPT, Answer.KEPT, QUIET),
    "the present slot again": ("1", CHOSEN, NONE, Outcome.ALREADY, Answer.ALREADY, QUIET),
    "another with room": ("2", ASKED, NONE, Outcome.MOVED, Answer.MOVED, QUIET),
    "printed words": ("thursday", ASKED, NONE, Outcome.MOVED, Answer.MOVED, QUIET),
    "another without room": ("2", FULL, NONE, Outcome.FULL, Answer.FULL, QUIET),
    "nothing else is left": ("2", NOTHING_LEFT, NONE, Outcome.FULL, Answer.FULL, WORK),
    "too late": (
        "2",
        replace(ASKED, printed=(replace(LATE, has_room=False),)),
        NONE,
        Outcome.TOO_LATE,
        Answer.TOO_LATE,
        WORK,
    ),
    "too late, though there is room": (
        "2",
        TOO_LATE,
        NONE,
        Outcome.TOO_LATE,
        Answer.TOO_LATE,
        WORK,
    ),
    "closed": ("2", CLOSED, NONE, Outcome.CLOSED, Answer.CLOSED, WORK),
    "replayed after a newer answer": (
        "2",
        CHOSEN,
        {"is_replayed": True, "received_at": ASKED_AT},
        Outcome.CLOSED,
        Answer.NOTHING,
        WORK,
    ),
    "replayed, and no newer answer": (
        "2",
        CHOSEN,
        {"is_replayed": True},
        Outcome.MOVED,
        Answer.MOVED,
        QUIET,
    ),
    "an older text that is no replay": (
        "2",
        CHOSEN,
        {"received_at": ASKED_AT},
        Outcome.MOVED,
        Answer.MOVED,
        QUIET,
    ),
    # what is no choice
    "unclear": (HUH, ASKED, NONE, Outcome.NOT_UNDERSTOOD, Answer.OPTIONS_AGAIN, QUIET),
    "unclear again": (HUH, PROMPTED, NONE, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, WORK),
    "unclear, nothing asked": (HUH, NOT_ASKED, NONE, Outcome.NO_QUESTION, Answer.NOTHING, WORK),
    "a digit never printed": (
        "9",
        ASKED,
        NONE,
        Outcome.NOT_UNDERSTOOD,
        Answer.OPTIONS_AGAIN,
        QUIET,
    ),
    "words that fit no one option": (
        "post office",
        ASKED,
        NONE,
        Outcome.NOT_UNDERSTOOD,
        Answer.OPTIONS_AGAIN,
        QUIET,
    ),
    "not a text": (
        "2",
        ASKED,
        {"type": "binary", "reply": NotUnderstood("not a text", rule="not a text")},
        Outcome.NOT_UNDERSTOOD,
        Answer.OPTIONS_AGAIN,
        QUIET,
    ),
    "thanks before a choice": (
        "thanks",
        ASKED,
        NONE,
        Outcome.THANKS,
        Answer.OPTIONS_AGAIN,
        QUIET,
    ),
    "thanks before a choice, again": (
        "thanks",
        PROMPTED,
        NONE,
        Outcome.THANKS,
        Answer.NOTHING,
        QUIET,
    ),
    "thanks after a choice": ("thanks", CHOSEN, NONE, Outcome.THANKS, Answer.NOTHING, QUIET),
    "thanks, nothing asked": ("thanks", NOT_ASKED, NONE, Outcome.THANKS, Answer.NOTHING, QUIET),
    # about our texts
    "stop": ("stop", ASKED, NONE, Outcome.OPTED_OUT, Answer.OPTED_OUT, QUIET),
    "stop again": ("stop", OUT, NONE, Outcome.OPTED_OUT, Answer.NOTHING, QUIET),
    "stop among others": ("stop 2", ASKED, NONE, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, WORK),
    "start": ("start", OUT, NONE, Outcome.OPTED_IN, Answer.OPTED_IN, QUIET),
    "help": ("help", ASKED, NONE, Outcome.HELP, Answer.HELP, QUIET),
    "help, nothing asked": ("help", NOT_ASKED, NONE, Outcome.HELP, Answer.HELP, QUIET),
    "help from who opted out": ("help", OUT, NONE, Outcome.HELP, Answer.HELP, QUIET),
    "cancel": ("cancel", ASKED, NONE, Outcome.CANCEL_ASKED, Answer.CANCEL_ASKED, WORK),
    "cancel, nothing asked": (
        "cancel",
        NOT_ASKED,
        NONE,
        Outcome.OPTED_OUT,
        Answer.OPTED_OUT,
        QUIET,
    ),
    # nothing about deliveries to who opted out
    "a choice from who opted out": ("2", OUT, NONE, Outcome.MOVED, Answer.NOTHING, WORK),
    "unclear from who opted out": (HUH, OUT, NONE, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, WORK),
    "yes from who opted out": ("thanks", OUT, NONE, Outcome.THANKS, Answer.NOTHING, QUIET),
    # so many automatic answers, and no more
    "too late, told often": (
        "2",
        told_often(TOO_LATE),
        NONE,
        Outcome.TOO_LATE,
        Answer.NOTHING,
        WORK,
    ),
    "full, told often": ("2", told_often(FULL), NONE, Outcome.FULL, Answer.NOTHING, WORK),
    "unclear, told often": (
        HUH,
        told_often(ASKED),
        NONE,
        Outcome.NOT_UNDERSTOOD,
        Answer.NOTHING,
        WORK,
    ),
    "thanks, told often": (
        "thanks",
        told_often(ASKED),
        NONE,
        Outcome.THANKS,
        Answer.NOTHING,
        QUIET,
    ),
    "cancel, told often": (
        "cancel",
        told_often(ASKED),
        NONE,
        Outcome.CANCEL_ASKED,
        Answer.NOTHING,
        WORK,
    ),
    "a valid choice, told often": (
        "2",
        told_often(ASKED),
        NONE,
        Outcome.MOVED,
        Answer.MOVED,
        QUIET,
    ),
    "stop, told often": (
        "stop",
        told_often(ASKED),
        NONE,
        Outcome.OPTED_OUT,
        Answer.OPTED_OUT,
        QUIET,
    ),
    "help, told often": ("help", told_often(ASKED), NONE, Outcome.HELP, Answer.HELP, QUIET),
    # what is not read as a choice, whatever it says
    "too many texts, the first": (
        "2",
        ASKED,
        FIRST,
        Outcome.NOT_UNDERSTOOD,
        Answer.NOTHING,
        WORK,
    ),
    "too many texts": (HUH, ASKED, FLOOD, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, QUIET),
    "stop, too many": ("stop", ASKED, FIRST, Outcome.OPTED_OUT, Answer.NOTHING, QUIET),
    "start, too many": ("start", ASKED, FIRST, Outcome.OPTED_IN, Answer.NOTHING, QUIET),
    "help, too many": ("help", ASKED, FLOOD, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, QUIET),
    "the end of a longer text": ("2", ASKED, END, Outcome.NOT_UNDERSTOOD, Answer.NOTHING, WORK),
    "stop at the end": ("stop", ASKED, END, Outcome.OPTED_OUT, Answer.OPTED_OUT, QUIET),
    # forged senders, and what an answer costs
    "the third move": ("2", ASKED, {"moves": {1: 2}}, Outcome.MOVED, Answer.MOVED, WORK),
    "the second move": ("2", ASKED, {"moves": {1: 1}}, Outcome.MOVED, Answer.MOVED, QUIET),
    "another delivery moved often": (
        "2",
        ASKED,
        {"moves": {2: 9}},
        Outcome.MOVED,
        Answer.MOVED,
        QUIET,
    ),
    "closed, and told so": (
        "2",
        CLOSED,
        {"told_closed": frozenset({1})},
        Outcome.CLOSED,
        Answer.NOTHING,
        WORK,
    ),
}


@pytest.mark.parametrize(
    ("text", "customer", "facts", "outcome", "answer", "work"), RULE.values(), ids=RULE
)
def test_rule_decides_each_line_of_the_table(text, customer, facts, outcome, answer, work):
    decision = decide(context(text, customer, **facts))
    told = (decision.outcome, answer_of(decision), bool(tickets_of(decision)))
    assert told == (outcome, answer, work)


def test_the_table_holds_every_answer_and_every_outcome_of_a_customers_reply():
    made_elsewhere = {Outcome.UNKNOWN_SENDER, Outcome.NOT_OURS, Outcome.PART, Outcome.ERROR}
    assert {row[4] for row in RULE.values()} == set(Answer)
    assert {row[3] for row in RULE.values()} == set(Outcome) - made_elsewhere


def part(number: int, text: str, **changes: Any) -> Piece:
    values: dict[str, Any] = {
        "pk": number,
        "number": number,
        "text": text,
        "is_binary": False,
        "received_at": NOW,
        "outcome": Outcome.PART,
        "joined_in": None,
        "is_whole": False,
    } | changes
    return Piece(**values)


OLD = {"received_at": NOW - dt.timedelta(minutes=11)}
NEVER_ANSWERED: dict[str, tuple[str, dict[str, Any], Outcome, list[str]]] = {
    "no phone": (
        "2",
        {"is_from_a_phone": False},
        Outcome.UNKNOWN_SENDER,
        ["Not sent from a customer's phone."],
    ),
    "a stranger": (
        "2",
        {"customer": None},
        Outcome.UNKNOWN_SENDER,
        ["No delivery found for this number."],
    ),
    "not our number": (
        "2",
        {"is_to_us": False},
        Outcome.NOT_OURS,
        ["Sent to a number that is not ours."],
    ),
    "a stranger's stop": ("stop", {"customer": None}, Outcome.OPTED_OUT, []),
    "a stranger's cancel": ("cancel", {"customer": None}, Outcome.OPTED_OUT, []),
    "a customer's cancel to another number": (
        "cancel",
        {"is_to_us": False},
        Outcome.NOT_OURS,
        ["Sent to a number that is not ours."],
    ),
    "a stop to another number": ("stop", {"is_to_us": False}, Outcome.OPTED_OUT, []),
    "a stranger's start": ("start", {"customer": None}, Outcome.OPTED_IN, []),
    "a part": ("2", {"long_text": LongText(part(2, "2"), 2, ())}, Outcome.PART, []),
    "a part that is late": (
        "2",
        {"long_text": LongText(part(2, "2"), 2, (part(1, "option ", **OLD),))},
        Outcome.PART,
        [LATE_PART],
    ),
    "a part in a flood": (
        "2",
        FIRST | {"long_text": LongText(part(2, "2"), 2, (part(1, "option "),))},
        Outcome.NOT_UNDERSTOOD,
        ["More than 60 messages in an hour: not read automatically."],
    ),
}


@pytest.mark.parametrize(
    ("text", "facts", "outcome", "reasons"), NEVER_ANSWERED.values(), ids=NEVER_ANSWERED
)
def test_decision_never_answers_these_messages(text, facts, outcome, reasons):
    decision = decide(context(**{"text": text} | facts))
    assert decision.outcome == outcome
    assert answer_of(decision) == Answer.NOTHING
    assert [ticket.reason for ticket in tickets_of(decision)] == reasons
    assert decision.reading.about is None


def test_unanswered_reply_opens_a_ticket_with_the_reason():
    decision = decide(context("2", OUT))
    why = "Opted out, so not answered: moved."
    assert tickets_of(decision) == [OpenTicket(TicketKind.OPTED_OUT, why)]


def test_thanks_for_an_older_choice_does_not_answer_a_newer_notification():
    newer = replace(MOVE, asked_at=LATER + dt.timedelta(hours=1))
    customer = replace(ASKED, printed=(ANSWERED, newer))
    assert answer_of(decide(context("thanks", customer))) == Answer.OPTIONS_AGAIN


# Effects


def test_a_move_has_its_effects_in_the_order_of_the_locks():
    *before, say, mended = decide(context("2")).effects
    assert before == [
        CancelTexts(BOOKING, "the customer moved the delivery"),
        CancelReminders(BOOKING),
        MoveBooking(BOOKING, OTHER),
    ]
    assert mended == CloseTickets(TicketScope.SETTLED_BY_CHOICE)
    assert isinstance(say, Say)
    company = django_settings.COMPANY_NAME
    assert say.text == (
        f"{company}: parcel A1 is moved to Thu 26 Nov 09:00-12:00."
        " To change it again reply 1 before Mon 23 Nov 21:00."
    )
    assert say.valid_until == OTHER.ends_at
    assert (say.booking, say.notification) == (BOOKING, NOTIFICATION)
    assert BOOKING.slot == BOOKED  # a decision changes nothing


def test_a_kept_slot_cancels_older_answers_and_moves_nothing():
    answers, reminders, say, mended = decide(context("1")).effects
    assert (answers, reminders) == (CancelAnswers(BOOKING), CancelReminders(BOOKING))
    assert mended == CloseTickets(TicketScope.SETTLED_BY_CHOICE)
    assert isinstance(say, Say)
    assert say.answer == Answer.KEPT


def test_repeated_options_leave_older_answers_in_the_queue():
    reminders, say = decide(context(HUH)).effects
    assert reminders == CancelReminders(BOOKING)
    assert isinstance(say, Say)
    assert "1 (Tue 24 Nov) or 2 (Thu 26 Nov)" in say.text
    assert say.valid_until == BOOKED.cutoff_at


@pytest.mark.parametrize(("text", "is_out"), [("stop", True), ("start", False)])
def test_consent_is_changed_before_it_is_confirmed(text, is_out):
    reminders, consent, say = decide(context(text)).effects
    assert (reminders, consent) == (CancelReminders(None), ChangeConsent(is_opted_out=is_out))
    assert isinstance(say, Say)
    assert (say.booking, say.notification) == (None, None)


def test_help_changes_no_consent():
    assert not any(isinstance(each, ChangeConsent) for each in decide(context("help")).effects)


def test_a_part_that_completes_its_text_joins_the_others():
    others = part(1, "option "), part(3, ", thanks"), part(4, "x", outcome=Outcome.MOVED)
    long_text = LongText(part(2, "2"), 3, others)
    decision = decide(context("2", long_text=long_text))
    assert decision.outcome == Outcome.MOVED
    assert decision.reading.whole == "option 2, thanks"
    assert JoinParts((1, 3)) in decision.effects


def test_a_part_that_repeats_a_joined_one_points_to_the_whole_text():
    others = (part(1, "option "), part(2, "2", joined_in=9))
    decision = decide(context("2", long_text=LongText(part(2, "2", pk=5), 2, others)))
    assert (decision.outcome, decision.reading.repeats) == (Outcome.PART, 9)
    assert decision.effects == (CancelReminders(None),)


def test_replay_without_need_of_a_person_closes_the_ticket():
    assert decide(context("2", is_replayed=True)).effects[-1] == CloseTickets(TicketScope.OWN)
    assert CloseTickets(TicketScope.OWN) not in decide(context("2")).effects


def test_a_text_on_which_our_software_fails_needs_a_person():
    (ticket,) = tickets_of(FAILED)
    assert (FAILED.outcome, ticket.kind) == (Outcome.ERROR, TicketKind.BROKEN)


def test_reading_is_kept_with_its_rule_and_matched_text():
    reading = decide(context("2 please")).reading
    assert (reading.name, reading.rule, reading.matched) == ("choice", "digit", "2")
    assert (reading.meant, reading.about) == (MOVE, MOVE)


@pytest.mark.parametrize(("facts", "rule"), [(FIRST, TOO_MANY), (END, LONGER)])
def test_a_text_in_doubt_is_kept_with_the_reason(facts, rule):
    reading = decide(context("2", **facts)).reading
    assert (reading.name, reading.rule, reading.meant) == ("not understood", rule, None)
    assert reading.about is not None


# Which option is meant

TODAY = dt.date(2026, 11, 23)
MEANT: dict[str, tuple[Reply, PrintedOption | None]] = {
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
def test_reply_selects_the_meant_option(reply, option):
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

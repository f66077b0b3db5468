"""Long replies: parts with concat fields are read as one, once; pieces without them are not read as a choice."""

import datetime as dt
from itertools import permutations

import pytest
import time_machine
from django.core.management import call_command

from bookings.dispatch import ticket_actions
from bookings.models import (
    Booking,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Outcome,
    SlotChange,
    Ticket,
)
from bookings.operations import maintenance
from bookings.replies import effects, multipart
from bookings.reporting import timeline
from tests.factories import STRANGER, NotificationFactory, UserFactory
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
#: 153 septets, politeness alone: with a digit behind it, still a choice.
POLITE = "please " * 21 + "hello "


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def asked(clock):
    return NotificationFactory.create()


@pytest.fixture
def send_part(reply, asked):
    """Post one part of a customer's long text as Vonage does."""

    def send(number: int, text: str, *, total: int = 2, ref: str = "7", **fields: str):
        concat = {
            "concat": "true",
            "concat-ref": ref,
            "concat-total": str(total),
            "concat-part": str(number),
        }
        return reply(fields.pop("msisdn", asked.msisdn), text, **concat | fields)

    return send


def is_moved(asked):
    return Booking.objects.get(pk=asked.booking_id).slot_id != asked.slot_id


def fresh(*messages: InboundMessage) -> list[InboundMessage]:
    return [InboundMessage.objects.get(pk=message.pk) for message in messages]


# --- joined --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])), ids=str)
def test_the_parts_of_a_text_are_read_as_one_in_any_order(asked, send_part, order):
    words = {1: "please option", 2: " ", 3: "2, thanks"}
    parts = [send_part(number, words[number], total=3) for number in order]
    first, second, last = fresh(*parts)
    assert last.outcome == Outcome.MOVED
    assert last.whole == last.said == "please option 2, thanks"
    assert [first.outcome, second.outcome] == [Outcome.PART] * 2
    assert first.joined_in == second.joined_in == last
    assert not any(part.attention for part in (first, second, last))
    assert is_moved(asked)
    assert SlotChange.objects.get().inbound == last
    assert OutboundMessage.objects.get().in_reply_to == last


def test_single_part_changes_nothing_and_opens_no_ticket(asked, send_part):
    part = send_part(1, "2")
    assert (part.outcome, part.attention, part.joined_in) == (Outcome.PART, "", None)
    assert not is_moved(asked)
    assert not OutboundMessage.objects.exists()


def test_a_digit_at_the_end_of_a_longer_text_is_no_choice(asked, send_part):
    send_part(1, "I will be at home from half past ")
    last = send_part(2, "2")
    assert last.outcome == Outcome.NOT_UNDERSTOOD
    assert not is_moved(asked)


def test_stop_in_one_of_two_parts_needs_a_person(asked, send_part):
    send_part(2, "STOP")
    last = send_part(1, "I told you to ")
    assert (last.outcome, last.rule) == (Outcome.NOT_UNDERSTOOD, "opt-out word among others")
    assert last.attention


def test_the_same_part_again_as_another_message_changes_nothing(asked, send_part):
    first, again = send_part(1, "option "), send_part(1, "option ")
    assert again.outcome == Outcome.PART
    last = send_part(2, "2")
    repeats = send_part(1, "option "), send_part(2, "2")
    assert is_moved(asked)
    assert SlotChange.objects.count() == OutboundMessage.objects.count() == 1
    for part in fresh(first, again, *repeats):
        assert (part.outcome, part.joined_in, part.attention) == (Outcome.PART, last, "")


def test_parts_of_two_texts_with_one_reference_are_not_joined(asked, clock, send_part):
    send_part(1, "option ")
    send_part(1, "not option ")
    assert send_part(2, "2").outcome == Outcome.PART
    assert not is_moved(asked)
    clock.shift(dt.timedelta(minutes=10, seconds=1))
    maintenance.sweep()
    assert InboundMessage.objects.filter(is_incomplete=True).count() == 3


DIFFERENT = {
    "another reference": {"ref": "8"},
    "another number of parts": {"total": 3},
    "another customer": {"msisdn": STRANGER},
    "another of our numbers": {"to": "447700900001"},
    "not a text": {"type": "binary"},
}


@pytest.mark.parametrize("different", DIFFERENT.values(), ids=DIFFERENT)
def test_parts_of_different_texts_are_not_mixed(settings, asked, send_part, different):
    settings.VONAGE_NUMBERS = [VIRTUAL_NUMBER, "447700900001"]
    send_part(1, "option ", **different)
    assert send_part(2, "2").outcome == Outcome.PART
    assert not is_moved(asked)


def test_long_text_of_an_unknown_number_is_not_answered(send_part):
    send_part(1, "hel", msisdn=STRANGER)
    last = send_part(2, "p", msisdn=STRANGER)
    assert (last.outcome, last.whole) == (Outcome.UNKNOWN_SENDER, "help")
    assert not OutboundMessage.objects.exists()


# --- incomplete ----------------------------------------------------------------------------------


def test_incomplete_text_opens_a_ticket_after_ten_minutes(asked, clock, send_part):
    part = send_part(1, "option ")
    clock.shift(dt.timedelta(minutes=10))
    maintenance.sweep()
    assert fresh(part)[0].attention == ""
    clock.shift(dt.timedelta(seconds=1))
    maintenance.sweep()
    assert fresh(part)[0].attention == multipart.INCOMPLETE
    assert multipart.report_incomplete() == 0  # harmless to repeat


def test_incomplete_text_has_one_ticket(asked, clock, send_part):
    send_part(1, "option ", total=4)
    clock.shift(dt.timedelta(minutes=9))
    send_part(2, "2, ", total=4)
    clock.shift(dt.timedelta(minutes=1, seconds=1))
    maintenance.sweep()
    send_part(3, "thanks", total=4)  # too late for the first
    clock.shift(dt.timedelta(minutes=9))
    maintenance.sweep()
    assert InboundMessage.objects.filter(is_incomplete=True).count() == 3
    assert Ticket.objects.get().inbound == InboundMessage.objects.get(part_number=1)
    call_command("check_invariants")


def test_part_after_a_settled_ticket_opens_another_ticket(asked, clock, send_part):
    send_part(1, "option ")
    clock.shift(dt.timedelta(minutes=11))
    maintenance.sweep()
    ticket_actions.set_aside(Ticket.objects.get(), UserFactory.create())
    clock.shift(dt.timedelta(minutes=1))
    late = send_part(2, "2")
    assert Ticket.objects.waiting().get().inbound == late
    call_command("check_invariants")


def test_each_of_two_incomplete_texts_opens_a_ticket(asked, clock, send_part):
    send_part(1, "option ")
    send_part(1, "number ", ref="8")
    clock.shift(dt.timedelta(minutes=11))
    maintenance.sweep()
    assert Ticket.objects.waiting().count() == 2


def test_part_after_the_time_limit_changes_nothing_and_needs_a_person(asked, clock, send_part):
    send_part(1, "option ")
    clock.shift(dt.timedelta(minutes=10, seconds=1))
    late = send_part(2, "2")
    assert (late.outcome, late.attention) == (Outcome.PART, multipart.LATE)
    assert not is_moved(asked)
    assert not OutboundMessage.objects.exists()


def test_a_part_at_the_last_moment_still_completes_it(asked, clock, send_part):
    send_part(1, "option ")
    clock.shift(dt.timedelta(minutes=10))
    assert send_part(2, "2").outcome == Outcome.MOVED


def test_joined_parts_are_not_reported_as_incomplete(asked, clock, send_part):
    send_part(1, "option ")
    send_part(2, "2")
    clock.shift(dt.timedelta(hours=1))
    maintenance.sweep()
    assert not InboundMessage.objects.filter(is_incomplete=True).exists()


def test_reference_reused_after_an_hour_begins_another_text(asked, clock, send_part):
    orphan = send_part(1, "option ")
    clock.shift(dt.timedelta(hours=1))
    second = send_part(2, "3")
    assert (second.outcome, second.attention) == (Outcome.PART, "")
    last = send_part(1, "number ")
    assert (last.outcome, last.whole) == (Outcome.MOVED, "number 3")
    assert fresh(orphan)[0].joined_in is None
    clock.shift(dt.timedelta(hours=1))
    send_part(1, "option ")
    assert send_part(2, "2").outcome == Outcome.MOVED
    assert SlotChange.objects.count() == 2


# --- when our rule fails, and what the history tells ---------------------------------------------


def test_a_text_whose_rule_failed_is_replayed_whole_and_once(asked, clock, send_part, monkeypatch):
    with monkeypatch.context() as bug:
        bug.setattr(effects, "_say", None)
        first, failed, again = send_part(1, "option "), send_part(2, "2"), send_part(2, "2")
    assert failed.outcome == again.outcome == Outcome.ERROR
    assert not is_moved(asked)
    clock.shift(dt.timedelta(hours=3))
    maintenance.sweep()
    call_command("check_invariants")
    for replayed in (failed, again):
        call_command("replay_inbound", replayed.pk)
    first, failed, again = fresh(first, failed, again)
    assert failed.outcome == Outcome.MOVED
    assert failed.said == "option 2"
    assert first.joined_in == again.joined_in == failed
    assert not first.attention
    assert again.outcome == Outcome.PART
    assert not Ticket.objects.waiting().exists()
    assert SlotChange.objects.count() == OutboundMessage.objects.count() == 1
    call_command("check_invariants")


def test_the_history_tells_a_long_reply_once_in_the_customers_whole_words(asked, send_part):
    send_part(2, "2")
    send_part(1, "option ")
    send_part(2, "2")
    replies = [step for step in timeline.timeline(asked.booking) if step.kind == "reply"]
    assert [step.text for step in replies] == ["option 2"]


def test_the_history_tells_of_parts_that_did_not_become_whole(asked, send_part):
    send_part(2, "2")
    replies = [step for step in timeline.timeline(asked.booking) if step.kind == "reply"]
    assert [step.text for step in replies] == ["2"]


# --- pieces without part fields ------------------------------------------------------------------

FULL = {
    "160 septets": ("x" * 160, "2", "text"),
    "153 septets": ("x" * 153, "2", "text"),
    "153 with a euro sign": ("€" + "x" * 151, "2", "text"),
    "no room for the euro sign": ("x" * 152, "€2", "text"),
    "70 units": ("\u0142" * 70, "2", "unicode"),
    "67 units": ("\u0142" * 67, "2", "unicode"),
    "67 plain units of a text that is not": ("x" * 67, "2", "unicode"),
    "no room for the emoji": ("x" * 66, "\U0001f44d 2", "unicode"),
}


@pytest.mark.parametrize(("full", "end", "type_"), FULL.values(), ids=FULL)
def test_text_after_a_full_length_text_is_not_read_as_a_choice(
    asked, clock, drain, reply, full, end, type_
):
    reply(asked.msisdn, full, type=type_)
    drain()
    clock.shift(dt.timedelta(seconds=60))
    inbound = reply(asked.msisdn, end, type=type_)
    assert (inbound.outcome, inbound.rule) == (Outcome.NOT_UNDERSTOOD, "end of a longer text")
    assert inbound.attention == "This may be the end of a longer message."
    assert not inbound.answers.exists()
    assert not is_moved(asked)


NOT_FULL = {
    "159 septets": ("x" * 159, {}),
    "152 septets": ("x" * 152, {}),
    "152 characters, two of them costly": ("€€" + "x" * 150, {}),
    "161 septets": ("x" * 161, {}),
    "70 units of GSM-7": ("x" * 70, {}),
    "66 units": ("\u0142" * 66, {}),
    "of another customer": ("x" * 160, {"msisdn": STRANGER}),
    "to another number of ours": ("x" * 160, {"to": "447700900001"}),
}


@pytest.mark.parametrize(("text", "fields"), NOT_FULL.values(), ids=NOT_FULL)
def test_text_after_a_short_text_is_read(settings, asked, reply, text, fields):
    settings.VONAGE_NUMBERS = [VIRTUAL_NUMBER, "447700900001"]
    reply(**{"msisdn": asked.msisdn, "text": text} | fields)
    assert reply(asked.msisdn, "2").outcome == Outcome.MOVED


def test_text_a_minute_later_is_read_alone(asked, clock, reply):
    reply(asked.msisdn, "x" * 160)
    clock.shift(dt.timedelta(seconds=61))
    assert reply(asked.msisdn, "2").outcome == Outcome.MOVED


def test_stop_after_a_full_length_text_opts_out(asked, reply):
    reply(asked.msisdn, "x" * 160)
    assert reply(asked.msisdn, "STOP").outcome == Outcome.OPTED_OUT


def test_a_full_part_of_a_text_with_part_fields_says_nothing_about_the_next_text(
    asked, reply, send_part
):
    assert len(POLITE) == 153
    send_part(1, POLITE)
    last = send_part(2, "2")
    assert last.outcome == Outcome.MOVED
    assert reply(asked.msisdn, "3").outcome == Outcome.MOVED
    assert OutboundMessage.objects.get(state=MessageState.QUEUED).in_reply_to != last


@pytest.mark.parametrize("kinds", [("text", "binary"), ("binary", "text")])
def test_a_part_that_is_no_text_completes_none(send_part, kinds):
    """The text waits for a person, whichever part comes last."""
    for number, kind in enumerate(kinds, 1):
        send_part(number, "2 please", type=kind)
    assert not InboundMessage.objects.exclude(whole="").exists()
    assert set(InboundMessage.objects.values_list("outcome", flat=True)) == {Outcome.PART}

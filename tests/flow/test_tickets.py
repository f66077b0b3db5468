"""Tickets: opened with their cause, and settled when a later event resolves them."""

import datetime as dt

import pytest
from django.core.management import call_command
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.gateways import Verdict
from bookings.models import Kind, MessageState, Settlement, Ticket, TicketKind
from bookings.notifications.asking import notify
from bookings.operations import maintenance
from bookings.operations.invariants import find_contradictions
from bookings.replies import effects
from tests.factories import (
    STRANGER,
    BookingFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    TicketFactory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WISH = "I'm away until friday, can u do sat?"


@pytest.fixture
def asked():
    return NotificationFactory.create()


@pytest.fixture
def unclear(reply, asked):
    """Return the ticket of a customer who sent two unclear replies."""
    reply(asked.msisdn, "hm?")
    return reply(asked.msisdn, WISH).ticket


def only() -> Ticket:
    return Ticket.objects.get()


# Replies


def test_second_unclear_reply_opens_a_ticket(reply, asked):
    reply(asked.msisdn, "hm?")
    assert not Ticket.objects.exists()
    inbound = reply(asked.msisdn, WISH)
    ticket = only()
    assert (ticket.inbound, ticket.booking, ticket.msisdn) == (
        inbound,
        asked.booking,
        asked.msisdn,
    )
    assert (ticket.kind, ticket.reason) == (TicketKind.UNCLEAR, inbound.attention)


def test_choice_with_free_text_opens_a_ticket(reply, unclear, asked):
    inbound = reply(asked.msisdn, "2 but leave it with the neighbour")
    assert inbound.ticket.kind == TicketKind.UNCLEAR
    assert not asked.booking.slot_changes.exists()


def late(reply, asked):
    dispatch.cancel(asked.booking)
    reply(asked.msisdn, "2")


def stranger(reply, asked):
    reply(STRANGER, "hello")


def opted_out(reply, asked):
    reply(asked.msisdn, "STOP")
    reply(asked.msisdn, "2")


def wants_out(reply, asked):
    reply(asked.msisdn, "please stop texting me")


def cancel(reply, asked):
    reply(asked.msisdn, "CANCEL")


def full(reply, asked):
    for option in asked.options.exclude(slot=asked.booking.slot):
        type(option.slot).objects.filter(pk=option.slot_id).update(capacity=0)
    reply(asked.msisdn, "2")


def suspicious(reply, asked):
    for digit in "232":
        reply(asked.msisdn, digit)


@pytest.mark.parametrize(
    ("happens", "kind"),
    [
        (late, TicketKind.LATE),
        (stranger, TicketKind.STRANGER),
        (opted_out, TicketKind.OPTED_OUT),
        (wants_out, TicketKind.WANTS_OUT),
        (cancel, TicketKind.WANTS_OUT),
        (full, TicketKind.FULL),
        (suspicious, TicketKind.SUSPICIOUS),
    ],
)
def test_each_kind_of_reply_that_needs_a_person_says_which(happens, kind, reply, asked):
    happens(reply, asked)
    assert only().kind == kind
    assert list(find_contradictions()) == []


def test_clear_choice_settles_an_unclear_reply(reply, unclear, asked):
    reply(asked.msisdn, "2")
    unclear.refresh_from_db()
    assert (unclear.settlement, unclear.settled_by) == (Settlement.OVERTAKEN, None)


def test_a_clear_choice_about_another_delivery_settles_nothing(reply, unclear, asked):
    other = BookingFactory.create(msisdn=asked.msisdn)
    notification = notify(other)
    notification.handed_over_at = timezone.now()
    notification.save()
    reply(asked.msisdn, str(notification.options.latest("digit").digit))
    assert Ticket.objects.waiting().get() == unclear


def test_stop_settles_the_ticket_of_a_polite_opt_out(reply, asked):
    wants_out(reply, asked)
    reply(asked.msisdn, "STOP")
    assert only().settlement == Settlement.OVERTAKEN


def test_replay_with_a_clear_reading_settles_the_ticket(reply, asked, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(effects, "_say", None)
        inbound = reply(asked.msisdn, "2")
    assert only().kind == TicketKind.BROKEN
    call_command("replay_inbound", inbound.pk)
    assert only().settlement == Settlement.OVERTAKEN
    assert list(find_contradictions()) == []


def test_replay_updates_the_reason_of_the_ticket(reply, asked, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("bookings.replies.rule.decide", None)
        inbound = reply(asked.msisdn, "please stop texting me")
    assert only().kind == TicketKind.BROKEN
    call_command("replay_inbound", inbound.pk)
    assert (only().kind, only().settled_at) == (TicketKind.WANTS_OUT, None)


def test_the_only_delivery_of_a_number_is_named_though_nothing_was_asked(reply):
    booking = BookingFactory.create()
    reply(booking.msisdn, "where is it?")
    assert only().booking == booking
    BookingFactory.create(msisdn=booking.msisdn)
    assert reply(booking.msisdn, "where are they?").ticket.booking is None


# Texts of ours


@pytest.mark.parametrize("kind", [Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT, Kind.STAFF])
def test_a_text_that_is_lost_needs_a_person_until_another_arrives(
    kind, queued, drain, report, network
):
    message = queued(kind)
    drain()
    report(network.posts[-1], "failed", err_code="3")
    ticket = only()
    assert (ticket.kind, ticket.outbound) == (TicketKind.NOT_SENT, message)
    assert "This number is no longer in use." in ticket.reason

    queued(Kind.TOLD, booking=message.booking)
    drain()
    report(network.posts[-1], "delivered")

    is_mended = kind != Kind.STAFF  # what a person wrote was about something else
    assert (only().settlement == Settlement.OVERTAKEN) is is_mended
    assert list(find_contradictions()) == []


def test_lost_re_prompt_opens_no_ticket(queued, drain, report, network):
    queued(Kind.RE_PROMPT)
    drain()
    report(network.posts[-1], "failed", err_code="3")
    assert not Ticket.objects.exists()


def test_text_lost_after_a_newer_one_arrived_opens_no_ticket(queued, drain, report, network):
    message = queued(Kind.TOLD)
    queued(Kind.TOLD, booking=message.booking)
    drain()
    first, second = sorted(
        network.posts[-2:], key=lambda post: post.form["client-ref"] != f"{message.ref}-1"
    )
    report(second, "delivered")
    report(first, "failed", err_code="1")
    assert not Ticket.objects.exists()


def handed_over(state, kind=Kind.ACKNOWLEDGEMENT, minutes=31, **fields):
    called = timezone.now() - dt.timedelta(minutes=minutes)
    message = OutboundMessageFactory.create(
        kind=kind, state=state, call_started_at=called, queued_at=called, **fields
    )
    verdict = Verdict.UNKNOWN if state == MessageState.UNKNOWN else Verdict.ACCEPTED
    SendAttemptFactory.create(message=message, verdict=verdict, state=state, call_started_at=called)
    return message


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (MessageState.SUBMITTED, TicketKind.NO_RECEIPT),
        (MessageState.UNKNOWN, TicketKind.UNKNOWN),
    ],
)
def test_half_an_hour_without_a_receipt_opens_one_ticket(state, kind):
    handed_over(state)
    for _ in range(2):
        maintenance.sweep()
        assert only().kind == kind


def test_missing_receipt_opens_no_ticket_before_half_an_hour_or_for_other_texts():
    handed_over(MessageState.SUBMITTED, minutes=29)
    handed_over(MessageState.SUBMITTED, Kind.HELP)
    handed_over(MessageState.DELIVERED)
    maintenance.sweep()
    assert not Ticket.objects.exists()


def test_late_receipt_settles_the_ticket(queued, drain, report, network, time_machine):
    queued()
    drain()
    time_machine.move_to(timezone.now() + dt.timedelta(minutes=31), tick=True)
    maintenance.sweep()
    assert only().kind == TicketKind.NO_RECEIPT
    report(network.posts[-1], "delivered")
    assert only().settlement == Settlement.OVERTAKEN
    maintenance.sweep()
    assert not Ticket.objects.waiting().exists()


def test_superseded_ticket_opens_again_when_its_text_is_lost(
    queued, drain, report, network, time_machine
):
    queued()
    drain()
    time_machine.move_to(timezone.now() + dt.timedelta(minutes=31), tick=True)
    maintenance.sweep()
    report(network.posts[-1], "buffered")
    assert only().settlement == Settlement.OVERTAKEN
    report(network.posts[-1], "expired")
    assert (only().kind, only().settled_at) == (TicketKind.NOT_SENT, None)


def test_refused_text_to_an_unreachable_number_opens_a_ticket(settings, drain):
    settings.SMS_COUNTRIES = ["IE"]
    OutboundMessageFactory.create(kind=Kind.TOLD, gateway="vonage")
    drain()
    assert only().kind == TicketKind.NOT_SENT
    assert "not allowed: call instead" in only().reason


# Invariants, retention


def test_invariants_find_an_unsound_queue(reply, asked):
    inbound = reply(asked.msisdn, "please stop texting me")
    Ticket.objects.update(
        settlement=Settlement.ANSWERED, settled_at=timezone.now(), settled_by=None
    )
    assert "nobody says by whom" in "".join(find_contradictions())
    Ticket.objects.all().delete()
    assert list(find_contradictions()) == [
        f"I12 inbound message {inbound.pk}: it needs a person, and stands in no queue"
    ]


def test_old_tickets_are_forgotten_and_stay_countable():
    old = timezone.now() - dt.timedelta(days=100)
    ticket = TicketFactory.create(raised_at=old, inbound__received_at=old)
    call_command("forget")
    number = ticket.msisdn
    ticket.refresh_from_db()
    assert (ticket.msisdn[:3], ticket.reason) == ("999", "[forgotten]")
    assert number not in str(list(Ticket.objects.values()))

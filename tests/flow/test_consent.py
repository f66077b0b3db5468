"""STOP, START, HELP and CANCEL: consent is recorded and enforced at every step."""

import pytest

from bookings.models import Consent, ConsentChange, Kind, MessageState, OutboundMessage, Outcome
from bookings.notifications.asking import CannotNotify, notify
from tests.factories import STRANGER, BookingFactory

pytestmark = pytest.mark.django_db

ANOTHER_OF_OURS, NOT_OURS = "447700900001", "447700900002"


def is_opted_out(msisdn: str) -> bool:
    return Consent.objects.is_opted_out(msisdn)


@pytest.fixture
def asked(ask):
    """Create a booking whose customer has been asked."""
    booking = BookingFactory.create()
    ask(booking)
    return booking


STOPS = ["STOP", "stop.", "StopAll", "END", "quit", "UNSUBSCRIBE", "revoke", "OPT OUT", "opt-out"]


@pytest.mark.parametrize("text", STOPS)
def test_a_stop_is_confirmed_once_and_nothing_more(asked, reply, drain, text):
    inbound = reply(asked.msisdn, text)
    assert inbound.outcome == Outcome.OPTED_OUT
    assert not inbound.attention
    assert is_opted_out(asked.msisdn)
    reply(asked.msisdn, text)
    (sent,) = drain()
    assert sent["to"] == asked.msisdn
    assert "START brings texts back" in sent["text"]
    assert inbound.answers.get().kind == Kind.OPT_OUT_CONFIRMATION
    reply(asked.msisdn, text)
    assert drain() == []


def test_opt_out_keeps_its_time_and_words(asked, reply):
    out = reply(asked.msisdn, "Stop!")
    back = reply(asked.msisdn, "start")
    changes = ConsentChange.objects.order_by("pk")
    assert [(row.is_opted_out, row.words, row.inbound) for row in changes] == [
        (True, "Stop!", out),
        (False, "start", back),
    ]


@pytest.mark.parametrize("to", [ANOTHER_OF_OURS, NOT_OURS, "ACME"])
def test_stop_to_any_number_opts_out(settings, asked, reply, to):
    settings.VONAGE_NUMBERS = [*settings.VONAGE_NUMBERS, ANOTHER_OF_OURS]
    inbound = reply(asked.msisdn, "STOP", to=to)
    assert inbound.outcome == Outcome.OPTED_OUT
    assert is_opted_out(asked.msisdn)
    senders = [answer.sender for answer in inbound.answers.all()]
    assert senders == ([to] if to == ANOTHER_OF_OURS else [])


@pytest.mark.parametrize("text", ["STOP", "cancel"])
def test_unknown_number_opts_out_and_in_without_answers(reply, text):
    assert reply(STRANGER, text).outcome == Outcome.OPTED_OUT
    assert is_opted_out(STRANGER)
    assert reply(STRANGER, "START").outcome == Outcome.OPTED_IN
    assert not is_opted_out(STRANGER)
    assert not OutboundMessage.objects.exists()


def test_stop_cancels_queued_texts(asked, reply, drain):
    moved = reply(asked.msisdn, "2")
    reply(asked.msisdn, "STOP")
    assert moved.answers.get().state == MessageState.CANCELLED
    (sent,) = drain()
    assert "no more texts" in sent["text"]


def test_opted_out_customers_are_not_asked(asked, reply):
    reply(asked.msisdn, "STOP")
    another = BookingFactory.create(msisdn=asked.msisdn)
    with pytest.raises(CannotNotify, match="opted out"):
        notify(another)


@pytest.mark.parametrize("text", ["stop 2", "please stop", "2 stop", "stop, thank you", "unsub"])
def test_opt_out_word_among_others_needs_a_person_at_once(asked, reply, text):
    before = asked.slot
    inbound = reply(asked.msisdn, text)
    assert inbound.outcome == Outcome.NOT_UNDERSTOOD
    assert inbound.attention == "Contains an opt-out word. Opt out?"
    assert not inbound.answers.exists()
    assert not is_opted_out(asked.msisdn)
    asked.refresh_from_db()
    assert asked.slot == before


def test_choice_after_opt_out_moves_the_booking_and_opens_a_ticket(asked, reply, drain):
    before = asked.slot
    reply(asked.msisdn, "STOP")
    drain()
    inbound = reply(asked.msisdn, "2")
    assert inbound.outcome == Outcome.MOVED
    assert inbound.attention == "Opted out, so not answered: moved."
    asked.refresh_from_db()
    assert asked.slot != before
    assert not inbound.answers.exists()
    assert drain() == []


@pytest.mark.parametrize("text", ["START", "unstop"])
def test_start_opts_in_again_and_says_so(asked, reply, drain, text):
    reply(asked.msisdn, "STOP")
    inbound = reply(asked.msisdn, text)
    assert inbound.outcome == Outcome.OPTED_IN
    assert not is_opted_out(asked.msisdn)
    (sent,) = drain()  # the confirmation of the STOP, which still waited, is not true any more
    assert "Reply STOP" in sent["text"]
    assert inbound.answers.get().state == MessageState.SUBMITTED
    assert reply(asked.msisdn, "2").answers.exists()


@pytest.mark.parametrize("text", ["yes", "yes please", "ok", "1", "2"])
def test_only_start_opts_in(asked, reply, text):
    reply(asked.msisdn, "STOP")
    reply(asked.msisdn, text)
    assert is_opted_out(asked.msisdn)


@pytest.mark.parametrize("text", ["HELP", "info", "help?"])
@pytest.mark.parametrize("first", [None, "STOP", "huh?"])
def test_help_is_always_answered(settings, asked, reply, drain, text, first):
    if first:
        reply(asked.msisdn, first)
        drain()
    for _ in range(5):
        inbound = reply(asked.msisdn, text)
        assert inbound.outcome == Outcome.HELP
        (sent,) = drain()
        assert settings.COMPANY_PHONE in sent["text"]
        assert inbound.answers.get().kind == Kind.HELP


def test_help_is_answered_without_an_open_notification(reply, drain):
    booking = BookingFactory.create()
    reply(booking.msisdn, "HELP")
    (sent,) = drain()
    assert booking.reference in sent["text"]


def test_cancel_with_an_open_notification_names_both_meanings(settings, asked, reply, drain):
    inbound = reply(asked.msisdn, "Cancel please")
    assert inbound.outcome == Outcome.CANCEL_ASKED
    assert inbound.attention
    assert not is_opted_out(asked.msisdn)
    (sent,) = drain()
    assert "STOP" in sent["text"]
    assert settings.COMPANY_PHONE in sent["text"]
    asked.refresh_from_db()
    assert asked.is_scheduled


def test_cancel_without_an_open_notification_opts_out(reply, drain):
    booking = BookingFactory.create()
    assert reply(booking.msisdn, "CANCEL").outcome == Outcome.OPTED_OUT
    assert is_opted_out(booking.msisdn)
    (sent,) = drain()
    assert "no more texts" in sent["text"]

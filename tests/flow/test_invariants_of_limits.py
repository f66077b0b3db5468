"""Invariants of limits: forbidden countries, caps of a number, uncounted costs, a stale queue."""

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from bookings.customers import consent
from bookings.gateways import Verdict
from bookings.models import ConsentChange, Kind, MessageState, Sender, Spending
from bookings.operations.invariants import find_contradictions
from tests.factories import OutboundMessageFactory, SendAttemptFactory

pytestmark = [pytest.mark.django_db, pytest.mark.database]

JERSEY, LONDON, TORONTO, MIAMI = "447797712345", "447400123456", "14165550123", "13055550123"


def contradictions():
    return list(find_contradictions())


def ago(**age):
    return timezone.now() - dt.timedelta(**age)


REFUSED = {
    "verdict": Verdict.REFUSED.value,
    "state": MessageState.FAILED,
    "message__state": MessageState.FAILED,
}


def waiting(**fields):
    return OutboundMessageFactory.create(kind=Kind.STAFF, **fields)


def sent_to(msisdn, **fields):
    return SendAttemptFactory.create(message__msisdn=msisdn, **fields).message_id


@pytest.mark.parametrize(
    ("there", "elsewhere"), [(LONDON, JERSEY), (MIAMI, TORONTO), (LONDON, TORONTO)]
)
def test_a_text_to_a_country_off_the_list_is_found(settings, there, elsewhere):
    settings.SMS_COUNTRIES = ["GB", "US"]
    sent_to(there)
    assert contradictions() == []
    strange = sent_to(elsewhere)
    assert contradictions() == [
        f"I8 outbound message {strange}: sent to a country that is not on the list"
    ]
    settings.SMS_COUNTRIES = []
    assert contradictions() == []


def test_old_or_unsent_texts_break_no_country_list(settings):
    settings.SMS_COUNTRIES = ["GB"]
    sent_to(TORONTO, call_started_at=ago(hours=25))
    sent_to(TORONTO, **REFUSED)
    assert contradictions() == []


def test_more_texts_to_a_number_than_an_hour_may_have_are_found(settings):
    settings.SMS_PER_NUMBER_HOUR = 2
    for minutes in (125, 62, 30, 1):
        sent_to(LONDON, call_started_at=ago(minutes=minutes))
    sent_to(MIAMI)
    sent_to(LONDON, **REFUSED)
    assert contradictions() == []
    third = sent_to(LONDON)
    assert contradictions() == [
        f"I8 outbound message {third}: its number got more than 2 in an hour"
    ]


def test_more_texts_to_a_number_than_a_day_may_have_are_found(settings):
    settings.SMS_PER_NUMBER_DAY = 2
    sent_to(LONDON, call_started_at=ago(hours=25))
    first = sent_to(LONDON, call_started_at=ago(hours=23))
    sent_to(LONDON, call_started_at=ago(hours=11))
    assert contradictions() == []
    sent_to(LONDON)
    assert contradictions() == [f"I8 outbound message {first}: its number got more than 2 in a day"]


def cost(amount, **fields):
    return SendAttemptFactory.create(cost=Decimal(amount), spent_on=timezone.localdate(), **fields)


def test_daily_spending_equals_the_cost_of_its_attempts():
    cost("0.1"), cost("0.2"), cost("0.0333")
    cost("0.05", **REFUSED)
    Spending.objects.create(day=timezone.localdate(), amount="0.3333")
    Spending.objects.create(day=timezone.localdate() - dt.timedelta(days=1), amount=0)
    assert contradictions() == []


@pytest.mark.parametrize("amount", ["0.05", "0.0333", "0", None])
def test_spending_that_was_not_counted_is_found(amount):
    cost("0.0666")
    if amount is not None:
        Spending.objects.create(day=timezone.localdate(), amount=amount)
    assert contradictions() == [
        f"I8 spending of {timezone.localdate()}: it is not the sum of what the attempts of that"
        " day cost"
    ]


def test_spending_that_nothing_accounts_for_is_found():
    Spending.objects.create(day=timezone.localdate(), amount="0.05")
    (line,) = contradictions()
    assert line.startswith(f"I8 spending of {timezone.localdate()}: ")


def test_a_text_that_waits_though_a_sender_should_have_cancelled_it_is_found():
    message = waiting(valid_until=ago(minutes=6))
    assert contradictions() == []
    Sender.objects.create(name="one")
    assert contradictions() == [
        f"I7 outbound message {message.pk}: queued, though its time is over"
    ]


def test_a_clock_of_the_database_that_is_ahead_of_ours_makes_no_text_late():
    waiting(valid_until=timezone.now() + dt.timedelta(minutes=1))
    Sender.objects.create(name="one", seen_at=timezone.now() + dt.timedelta(days=9))
    assert contradictions() == []


@pytest.mark.parametrize(
    ("minutes", "fields"),
    [
        pytest.param(1, {}, id="the next sweep sees to it"),
        pytest.param(6, {"is_held": True}, id="held"),
        pytest.param(6, {"state": MessageState.CANCELLED}, id="cancelled"),
    ],
)
def test_a_text_that_rightly_waits_is_no_contradiction(minutes, fields):
    waiting(valid_until=ago(minutes=minutes), **fields)
    Sender.objects.create(name="one")
    assert contradictions() == []


def test_queue_without_a_working_sender_is_no_contradiction():
    waiting(valid_until=ago(minutes=6))
    Sender.objects.create(name="one", seen_at=ago(minutes=10))
    assert contradictions() == []


def test_start_shortly_before_a_text_is_no_contradiction(settings):
    """A STOP and a START, more than a lease apart, and a text right after."""
    sent = sent_to(LONDON, call_started_at=ago(seconds=5))
    consent.change(LONDON, is_opted_out=True, words="STOP")
    ConsentChange.objects.update(created_at=ago(seconds=90))
    assert contradictions() == [f"I8 outbound message {sent}: sent to somebody who had opted out"]
    consent.change(LONDON, is_opted_out=False, words="START")
    ConsentChange.objects.filter(is_opted_out=False).update(created_at=ago(seconds=10))
    assert contradictions() == []

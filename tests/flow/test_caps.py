"""Allowed countries, and the caps on texts to one number, for texts of every kind."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.gateways import SendResult, Verdict
from bookings.models import Kind, MessageState, OutboundMessage
from bookings.notifications.asking import CannotNotify, notify
from bookings.notifications.drafts import draft_notification
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle
from tests.factories import BookingFactory, SlotFactory
from tests.flow.clock import clock_at, wall
from tests.flow.conftest import begin_call

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOUR = dt.timedelta(hours=1)
CUSTOMER, FRENCH, JERSEY = "447700900111", "33612345678", "447797712345"
PREMIUM = "449012345678"
KINDS = [Kind.NOTIFICATION, Kind.ACKNOWLEDGEMENT, Kind.OPT_OUT_CONFIRMATION]


@pytest.fixture
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def state_of(message):
    message.refresh_from_db()
    return message.state


# Countries


@pytest.mark.parametrize(
    ("msisdn", "word"), [(FRENCH, "FR"), (JERSEY, "JE"), (PREMIUM, "cannot receive")]
)
def test_a_number_that_is_never_texted_is_not_asked(settings, msisdn, word):
    settings.SMS_COUNTRIES = ["GB", "IE"]
    with pytest.raises(CannotNotify, match=word):
        draft_notification(BookingFactory.create(msisdn=msisdn))


def test_without_a_list_texts_may_go_anywhere(settings):
    settings.SMS_COUNTRIES = []
    assert draft_notification(BookingFactory.create(msisdn=FRENCH)).text


@pytest.mark.parametrize("msisdn", [FRENCH, PREMIUM])
@pytest.mark.parametrize("kind", KINDS)
def test_text_to_a_forbidden_number_fails_at_the_claim(queued, drain, settings, kind, msisdn):
    settings.SMS_COUNTRIES = ["GB"]
    refused = queued(kind, msisdn=msisdn)
    queued()
    assert [form["to"] for form in drain()] != [msisdn]
    assert state_of(refused) == MessageState.FAILED
    assert refused.reason.endswith("call instead.")
    assert not refused.attempts.exists()


# Caps


def test_texts_beyond_the_hourly_cap_wait_until_the_hour_is_over(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_HOUR = 3
    messages = [queued(msisdn=CUSTOMER) for _ in range(4)]
    assert len(drain()) == 3
    waiting = messages[-1]
    assert state_of(waiting) == MessageState.QUEUED
    assert waiting.due_at == timezone.now() + HOUR
    assert waiting.reason == "Delayed: this number got 3 messages in an hour."
    assert (waiting.claims, waiting.attempts.count()) == (0, 0)
    clock("2026-11-23 10:59:59")
    assert drain() == []
    clock("2026-11-23 11:00")
    assert len(drain()) == 1
    assert (state_of(waiting), waiting.reason) == (MessageState.SUBMITTED, "")


def test_the_window_slides_with_the_first_text_in_it(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_HOUR = 2
    for time in ("10:00", "10:30", "10:40"):
        clock(f"2026-11-23 {time}")
        last = queued(msisdn=CUSTOMER)
        drain()
    assert state_of(last) == MessageState.QUEUED
    assert last.due_at == wall("2026-11-23 11:00")


def test_texts_beyond_the_daily_cap_wait_until_the_day_is_over(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_DAY = 2
    for hour in ("10", "12", "14"):
        clock(f"2026-11-23 {hour}:00")
        last = queued(msisdn=CUSTOMER)
        drain()
    assert state_of(last) == MessageState.QUEUED
    assert last.due_at == wall("2026-11-24 10:00")
    assert last.reason == "Delayed: this number got 2 messages in a day."


def test_capped_number_does_not_hold_up_other_numbers(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_HOUR = 1
    for _ in range(20):
        queued(msisdn=CUSTOMER)
    other = queued(Kind.NOTIFICATION)
    assert [form["to"] for form in drain()] == [CUSTOMER, other.msisdn]


def test_texts_of_every_kind_are_counted(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_HOUR = 3
    for kind in (Kind.HELP, Kind.STAFF, Kind.TOLD, Kind.ACKNOWLEDGEMENT):
        queued(kind, msisdn=CUSTOMER)
    assert len(drain()) == 3


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [
        (Verdict.ACCEPTED, True),
        (Verdict.UNKNOWN, True),
        (Verdict.PARTIAL, True),
        (Verdict.REFUSED, False),
        (Verdict.PROVIDER_ERROR, False),
    ],
)
def test_cap_counts_attempts_that_may_have_left_and_no_others(
    network, queued, settings, clock, verdict, counts
):
    settings.SMS_PER_NUMBER_HOUR = 1
    queued(msisdn=CUSTOMER)
    settle(begin_call(), SendResult(verdict=verdict))
    queued(msisdn=CUSTOMER)
    assert len(claim(1).messages) == (not counts)


@pytest.mark.parametrize("is_called", [False, True], ids=["claimed", "called"])
def test_cap_counts_claimed_texts(network, queued, settings, clock, is_called):
    settings.SMS_PER_NUMBER_HOUR = 2
    for _ in range(3):
        queued(msisdn=CUSTOMER)
    if is_called:
        begin_call()
    else:
        claim(1)
    assert len(claim(8).messages) == 1
    assert claim(8).messages == []


def test_capped_notification_that_became_outdated_is_asked_afresh(queued, drain, settings, clock):
    settings.SMS_PER_NUMBER_DAY = 1
    booking = BookingFactory.create(
        msisdn=CUSTOMER, slot=SlotFactory.create(date=dt.date(2026, 11, 26))
    )
    clock("2026-11-24 20:00")
    queued(msisdn=CUSTOMER)
    drain()
    stale = OutboundMessage.objects.get(notification=notify(booking))
    assert "(tomorrow" not in stale.text
    OutboundMessage.objects.filter(pk=stale.pk).update(valid_until=wall("2026-11-25 00:00"))
    assert drain() == []
    clock("2026-11-25 08:00")
    assert drain() == []
    assert state_of(stale) == MessageState.CANCELLED
    clock("2026-11-25 20:00")
    assert "(tomorrow Thu 26 Nov)" in OutboundMessage.objects.order_by("-pk")[0].text

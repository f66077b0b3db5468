"""Daily spending and its cap: texts beyond the cap wait unchanged."""

import datetime as dt
import logging
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone

from bookings.gateways import PartResult, SendResult, Verdict
from bookings.models import Kind, MessageState, OutboundMessage, SendAttempt, SentPart, Spending
from bookings.outbox import recovery
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import OutboundMessageFactory
from tests.flow.clock import clock_at
from tests.flow.conftest import begin_call

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TODAY = dt.date(2026, 11, 23)
PRICE = Decimal("0.05")


@pytest.fixture(autouse=True)
def clock(time_machine, settings):
    settings.SMS_PRICE_PER_PART = PRICE
    return clock_at(time_machine, "2026-11-23 10:00")


def spent(day=TODAY):
    return Spending.of(day).amount


def answer(*prices, verdict=Verdict.ACCEPTED, balance=""):
    parts = tuple(
        PartResult(message_id=f"0A{number}", status="0", price=price)
        for number, price in enumerate(prices)
    )
    return SendResult(verdict=verdict, parts=parts, balance=balance)


def counted(**fields):
    """Return an attempt's counted parts, and those of them without a price."""
    attempt = SendAttempt.objects.get(**fields)
    return attempt.counted_parts, attempt.unpriced_parts


def errors(caplog):
    return [record for record in caplog.records if record.levelno == logging.ERROR]


# Counted amounts


def test_a_text_is_counted_by_its_parts_before_its_call(network, queued):
    queued(parts=3)
    attempt = begin_call()
    assert (attempt.cost, attempt.spent_on) == (3 * PRICE, TODAY)
    assert spent() == 3 * PRICE
    assert counted() == (3, 3)


@pytest.mark.parametrize(
    ("msisdn", "country"),
    [("447797712345", "JE"), ("14165550101", "CA"), ("881612345678", "001")],
    ids=["Jersey", "Canada", "satellite"],
)
def test_an_attempt_knows_the_country_of_its_number(network, queued, msisdn, country):
    queued(msisdn=msisdn)
    assert begin_call().country == country


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.NOT_SENT,
        Verdict.THROTTLED,
        Verdict.ACCOUNT,
        Verdict.PROVIDER_ERROR,
        Verdict.REFUSED,
    ],
)
def test_refused_attempt_gives_its_money_back(network, queued, verdict):
    queued()
    attempt = begin_call()
    settle(attempt, answer(verdict=verdict))
    assert spent() == SendAttempt.objects.get().cost == 0
    assert counted(country="GB") == (0, 0)


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.ACCEPTED])
def test_attempt_with_unknown_outcome_stays_counted(network, queued, verdict):
    queued(parts=2)
    settle(begin_call(), answer(verdict=verdict))
    assert spent() == 2 * PRICE
    assert counted() == (2, 2)


@pytest.mark.parametrize(
    ("prices", "cost", "parts", "unpriced"),
    [
        (("0.03330000", "0.03330000"), "0.0666", 2, 0),
        (("0.03330000", ""), "0.1", 2, 1),
        (("0.03330000", "much"), "0.1", 2, 1),
        (("", "", ""), "0.1", 3, 3),
        (("0.03330000",), "0.0333", 1, 0),
        (("0", "0"), "0", 2, 0),
    ],
    ids=["all", "one of them", "not readable", "none of three", "one part", "free"],
)
def test_the_gateways_prices_count_when_it_has_named_them_all(
    network, queued, prices, cost, parts, unpriced
):
    queued(parts=2)
    attempt = begin_call()
    settle(attempt, answer(*prices))
    assert spent() == SendAttempt.objects.get().cost == Decimal(cost)
    assert counted() == (parts, unpriced)


def test_a_part_that_the_gateway_names_twice_counts_once(network, queued):
    queued()
    parts = tuple(PartResult(message_id="0A1", status="0", price=price) for price in ("0.03", ""))
    settle(begin_call(), SendResult(verdict=Verdict.ACCEPTED, parts=parts))
    assert SentPart.objects.get().price == Decimal("0.03")
    assert counted() == (1, 0)


def test_partial_text_costs_its_accepted_parts(network, queued):
    queued(parts=2)
    taken = PartResult(message_id="0A1", status="0", price="0.04")
    refused = PartResult(message_id="", status="5")
    settle(begin_call(), SendResult(verdict=Verdict.PARTIAL, parts=(taken, refused)))
    assert spent() == Decimal("0.04")
    assert counted() == (1, 0)


def test_each_try_of_a_text_counts_for_itself(network, queued, clock):
    queued(Kind.NOTIFICATION, parts=2)
    settle(begin_call(), SendResult(verdict=Verdict.NOT_SENT))
    clock("2026-11-23 10:01")
    settle(begin_call(), SendResult(verdict=Verdict.UNKNOWN))
    clock("2026-11-23 10:17")
    recovery.send_again()
    settle(begin_call(), answer("0.04", "0.04"))
    assert [counted(number=number) for number in (1, 2, 3)] == [(0, 0), (2, 2), (2, 0)]
    assert spent() == 2 * PRICE + Decimal("0.08")


def test_an_answer_after_midnight_counts_for_the_day_of_the_call(network, queued, clock):
    queued()
    clock("2026-11-23 23:59:59")
    attempt = begin_call()
    clock("2026-11-24 00:00:10")
    settle(attempt, answer("0.03"))
    assert (spent(TODAY), spent(TODAY + dt.timedelta(days=1))) == (Decimal("0.03"), 0)


def test_spending_day_follows_the_companys_zone(network, queued, clock):
    clock("2027-06-02 00:30")  # in UTC the day before
    queued()
    assert begin_call().spent_on == dt.date(2027, 6, 2)


def test_attempt_without_a_spending_row_can_be_settled(network, queued):
    queued()
    attempt = begin_call()
    attempt.spent_on = None
    Spending.objects.all().delete()
    settle(attempt, answer("0.03", balance="9.00"))
    assert OutboundMessage.objects.get().state == MessageState.SUBMITTED


# The cap


def test_text_beyond_the_spending_cap_waits_until_midnight(
    network, queued, drain, settings, clock, caplog
):
    settings.SMS_DAILY_SPEND_CAP = Decimal("0.15")
    network.set_mode("empty200")  # its price stays what we counted
    for _ in range(5):
        queued()
    assert len(drain()) == 3
    assert (spent(), Spending.of(TODAY).stopped_at) == (Decimal("0.15"), timezone.now())
    waiting = OutboundMessage.objects.queued()
    assert waiting.filter(claims=0, token="", attempts=None).count() == 2
    for _ in range(3):
        assert drain() == []
    assert len(errors(caplog)) == 1
    assert "cap of 0.15" in caplog.text
    clock("2026-11-23 23:59:59")
    assert drain() == []
    clock("2026-11-24 00:00")
    assert len(drain()) == 2
    assert spent(TODAY + dt.timedelta(days=1)) == Decimal("0.10")


def test_a_raised_cap_lets_the_texts_flow(network, queued, drain, settings):
    settings.SMS_DAILY_SPEND_CAP = Decimal("0.05")
    network.set_mode("empty200")
    for _ in range(3):
        queued()
    assert len(drain()) == 1
    settings.SMS_DAILY_SPEND_CAP = Decimal("1.00")
    assert len(drain()) == 2
    assert Spending.of(TODAY).stopped_at is None


def test_claim_beyond_the_cap_is_returned_to_the_queue_unchanged(network, queued, settings):
    settings.SMS_DAILY_SPEND_CAP = PRICE
    notification = queued(Kind.NOTIFICATION)
    queued(priority=1)
    first, second = claim(2).messages
    assert start_call(first) is not None
    assert start_call(second) is None
    notification.refresh_from_db()
    notification.notification.refresh_from_db()
    assert (notification.state, notification.token, notification.claims) == (
        MessageState.QUEUED,
        "",
        0,
    )
    assert (notification.call_started_at, notification.lease_until) == (None, None)
    assert notification.notification.handed_over_at is None
    assert SendAttempt.objects.count() == 1
    assert spent() == PRICE


def test_text_too_costly_for_the_rest_of_the_cap_stops_later_texts(network, queued, settings):
    settings.SMS_DAILY_SPEND_CAP = Decimal("0.10")
    Spending.objects.create(day=TODAY, amount=Decimal("0.05"))
    queued(parts=2)
    queued(Kind.NOTIFICATION, parts=1)
    claimed = claim(8)
    assert (claimed.messages, claimed.wait) == ([], None)
    assert Spending.of(TODAY).stopped_at is not None


def test_returned_money_is_available_again(network, queued, settings):
    settings.SMS_DAILY_SPEND_CAP = PRICE
    queued()
    queued()
    settle(begin_call(), answer(verdict=Verdict.REFUSED))
    settle(begin_call(), answer(verdict=Verdict.ACCEPTED))
    assert spent() == PRICE


def test_a_cap_is_used_to_its_last_cent(network, queued, settings):
    """SQLite adds floats, and sums of 0.05 are inexact."""
    settings.SMS_PER_NUMBER_HOUR = 1000
    settings.SMS_DAILY_SPEND_CAP = 37 * PRICE
    first = queued()
    for _ in range(39):
        queued(booking=first.booking)
    while messages := claim(8).messages:
        for message in messages:
            start_call(message)
    assert SendAttempt.objects.count() == 37


# The balance


@pytest.mark.parametrize(
    ("past", "balance", "is_low"),
    [
        ([], "0.09", True),
        ([], "0.10", False),
        (["4", "6"], "9.99", True),
        (["4", "6"], "10.00", False),
        (["100", *["1"] * 7], "2.00", False),
        ([], "-3.00", True),
    ],
    ids=["today", "enough today", "past days", "enough", "seven of them", "in debt"],
)
def test_a_balance_of_less_than_two_days_is_told(network, queued, caplog, past, balance, is_low):
    for ago, amount in enumerate(reversed(past), start=1):
        Spending.objects.create(day=TODAY - dt.timedelta(days=ago), amount=Decimal(amount))
    queued()
    settle(begin_call(), answer(balance=balance))
    assert Spending.of(TODAY).balance == Decimal(balance)
    assert ("top it up" in caplog.text) is is_low


def test_a_low_balance_is_told_once_a_day(network, queued, caplog, clock):
    for day in ("2026-11-23", "2026-11-24"):
        clock(f"{day} 10:00")
        for _ in range(3):
            queued()
            settle(begin_call(), answer(balance="0.01"))
    assert caplog.text.count("top it up") == 2


@pytest.mark.parametrize("balance", ["", "n/a", "1e9", "99999999999"])
def test_a_balance_that_cannot_be_read_is_left_out(network, queued, balance):
    queued()
    settle(begin_call(), answer(balance=balance))
    assert Spending.of(TODAY).balance is None


def test_price_and_balance_in_vonages_answer_are_counted(network, queued, drain):
    queued()
    drain()
    (today,) = Spending.objects.all()
    assert (today.amount, today.balance) == (Decimal("0.0333"), Decimal("15.5359"))


def test_the_simulator_costs_nothing(settings):
    settings.SMS_GATEWAY = "simulator"
    OutboundMessageFactory.create()
    call_command("run_outbox", "--drain")
    assert spent() == 0

"""Monthly costs by country: each text once, each part at the price of the gateway."""

import datetime as dt
from decimal import Decimal

import pytest

from bookings.reporting import costs
from bookings.reporting.costs import Cost
from tests.factories import OutboundMessageFactory, SendAttemptFactory, SentPartFactory
from tests.flow.clock import wall

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OCTOBER, NOVEMBER = dt.date(2026, 10, 1), dt.date(2026, 11, 1)


def tried(message, number, when, *prices, verdict="unknown", cost="0.05"):
    """Create a try of this text; without prices the gateway named no parts."""
    attempt = SendAttemptFactory.create(
        message=message, number=number, call_started_at=wall(when), verdict=verdict, cost=cost
    )
    for price in prices:
        SentPartFactory.create(attempt=attempt, price=price)


@pytest.fixture
def text():
    return OutboundMessageFactory.create(msisdn="447700900001", parts=2)


def told(month):
    return [
        (cost.country, cost.texts, cost.parts, cost.unpriced, f"{cost.amount:.2f}")
        for cost in costs.by_country(month)
    ]


def test_a_text_that_was_sent_again_is_one_text_and_costs_twice(text):
    tried(text, 1, "2026-10-12 12:00")
    tried(text, 2, "2026-10-12 12:16", "0.03", "0.03", verdict="accepted", cost="0.06")
    assert told(OCTOBER) == [("GB", 1, 4, 2, "0.11")]


def test_a_text_that_was_sent_again_after_midnight_is_one_of_each_month(text):
    tried(text, 1, "2026-10-31 23:50")
    tried(text, 2, "2026-11-01 00:06", "0.03", verdict="accepted", cost="0.03")
    assert told(OCTOBER) == [("GB", 1, 2, 2, "0.05")]
    assert told(NOVEMBER) == [("GB", 1, 1, 0, "0.03")]


@pytest.mark.parametrize("verdict", ["throttled", "refused"])
def test_refused_attempts_do_not_count_as_texts(text, verdict):
    tried(text, 1, "2026-10-12 12:00", verdict=verdict, cost="0")
    assert told(OCTOBER) == []
    tried(text, 2, "2026-10-12 12:01", verdict=verdict, cost="0")
    tried(text, 3, "2026-10-12 12:02", "0.03", verdict="accepted", cost="0.03")
    assert told(OCTOBER) == [("GB", 1, 1, 0, "0.03")]


def test_a_call_that_is_not_over_counts_with_our_estimate(text):
    tried(text, 1, "2026-10-12 12:00", verdict="")
    assert told(OCTOBER) == [("GB", 1, 2, 2, "0.05")]


def test_a_text_that_is_free_counts_with_its_parts(text):
    tried(text, 1, "2026-10-12 12:00", "0", "0", verdict="accepted", cost="0")
    assert costs.by_country(OCTOBER) == [Cost("GB", 1, 2, 0, Decimal(0))]


def test_month_costs_take_one_query(text, django_assert_num_queries):
    tried(text, 1, "2026-10-12 12:00")
    for msisdn in ("353871234567", "12025550101", "14165550101"):
        tried(OutboundMessageFactory.create(msisdn=msisdn), 1, "2026-10-12 12:00", cost="0.07")
    with django_assert_num_queries(1):
        found = costs.by_country(OCTOBER)
    assert [cost.country for cost in found] == ["CA", "IE", "US", "GB"]

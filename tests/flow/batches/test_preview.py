"""The preview of a batch: its recipients, costs, waiting texts and times of departure."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.customers import consent
from bookings.models import Batch, BatchState, Booking, Spending
from bookings.notifications import batches
from bookings.notifications.batches import ask_waiting
from bookings.notifications.batches.previewing import preview_batch
from bookings.notifications.batches.timing import Backlog, Forecast, ForecastText
from bookings.scheduling.offers import offered_slots
from tests.factories import BookingFactory, SlotFactory, UserFactory
from tests.flow.batches.conftest import THU, TUE, parcels, start
from tests.flow.clock import wall
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def in_slots_of(days) -> list[Booking]:
    """Create a booking on each of these days, each at another hour."""
    return [
        BookingFactory.create(
            slot=SlotFactory.create(
                date=THU + dt.timedelta(days=day),
                window_start=dt.time(8 + day % 10),
                window_end=dt.time(18),
            )
        )
        for day in days
    ]


def test_the_preview_takes_as_many_queries_for_many_slots_as_for_few():
    few, many, _later = (in_slots_of(range(*days)) for days in ((0, 2), (2, 22), (30, 31)))
    with CaptureQueriesContext(connection) as of_few:
        assert previewed(few).asked == 2
    with CaptureQueriesContext(connection) as of_many:
        assert previewed(many).asked == 20
    assert len(of_many) == len(of_few)


def test_preview_looks_up_shared_options_once():
    chosen = in_slots_of(range(20))
    for booking in chosen:
        post_office = {"place": "post_office", "capacity": None}
        window = {name: getattr(booking.slot, name) for name in ("window_start", "window_end")}
        SlotFactory.create(date=booking.slot.date, **window, **post_office)
    slots = [booking.slot for booking in chosen]
    with CaptureQueriesContext(connection) as of_one:
        offered_slots(slots[:1], timezone.now())
    with CaptureQueriesContext(connection) as of_all:
        found = offered_slots(slots[:-1], timezone.now())
    assert len(of_all) == len(of_one) == 2
    alone = {slot.pk: offered_slots([slot], timezone.now())[slot.pk] for slot in slots[:-1]}
    assert found == alone
    assert {len(offered) for offered in found.values()} == {3}


@pytest.fixture
def money(settings):
    """Set a spending cap, and the prices of the fake network."""
    settings.SMS_PRICE_PER_PART, settings.SMS_DAILY_SPEND_CAP = Decimal("0.0333"), Decimal("1.00")


def previewed(bookings):
    keys = [booking.pk for booking in bookings]
    return preview_batch(Booking.objects.filter(pk__in=keys), sender=VIRTUAL_NUMBER)


def test_the_preview_says_how_many_the_days_cap_on_spending_leaves_for_today(
    clock, queued, drain, money
):
    today = dt.date(2026, 11, 23)
    Spending.objects.create(day=today, amount=Decimal("0.40"))
    queued()
    chosen = parcels(10)
    found = previewed(chosen)
    parts = found.parts // 10
    assert found.timing.money == Decimal("0.5667")
    left = int(Decimal("0.5667") / (parts * Decimal("0.0333")))
    assert 0 < left < 10
    assert (found.timing.today, found.timing.dear) == (left, 10 - left)
    assert timezone.localdate(found.timing.ends_at) > today

    start(chosen)
    assert len(drain()) == left + 1
    assert Spending.of(today).amount <= Decimal("1.00")
    clock("2026-11-24 08:00")
    assert len(drain()) == 10 - left


def test_a_text_that_is_dearer_than_a_whole_days_cap_never_leaves(settings, money):
    settings.SMS_DAILY_SPEND_CAP = Decimal("0.01")
    found = previewed(parcels(2)).timing
    assert (found.today, found.dear, found.closed) == (0, 0, 2)


def test_without_a_cap_on_spending_nothing_is_said_of_it(settings):
    settings.SMS_DAILY_SPEND_CAP = None
    found = previewed(parcels(3)).timing
    assert (found.money, found.today, found.dear) == (None, 3, 0)


def test_queued_texts_are_counted_at_their_countrys_price(settings, queued, network, money):
    settings.SMS_PRICES = {"GB": Decimal("0.04"), "FR": Decimal("0.10")}
    queued(parts=2, msisdn="447700900123")
    queued(parts=3, msisdn="33612345678")
    assert previewed(parcels(1)).timing.money == Decimal("0.62")


def test_customers_of_an_earlier_batch_go_first_and_are_counted(money):
    start(parcels(10))
    chosen = parcels(20)
    before = previewed(chosen).timing
    assert (before.ahead, before.money) == (10, Decimal("0.3340"))
    ask_waiting()
    assert previewed(chosen).timing == before


def test_texts_not_sent_today_are_not_ahead_and_cost_nothing(queued, network, money):
    paused, cancelled = start(parcels(3)), start(parcels(1, date=TUE))
    ask_waiting()
    assert batches.pause_batch(paused, UserFactory.create())
    Batch.objects.filter(pk=cancelled.pk).update(
        state=BatchState.CANCELLED, ended_at=timezone.now()
    )
    queued(is_held=True)
    queued(gateway="simulator")
    consent.change(queued().msisdn, is_opted_out=True, words="STOP")
    found = previewed(parcels(1)).timing
    assert (found.ahead, found.money) == (0, Decimal("1.00"))
    queued(due_at=wall("2026-11-23 10:05"))  # the gateway asked for a moment
    assert previewed(parcels(1)).timing.ahead == 1


def test_customer_waiting_in_one_batch_is_left_out_of_the_next(drain):
    chosen = parcels(3)
    first = start(chosen)
    found = previewed(chosen)
    assert found.asked == 0
    ((reason, waiting),) = found.left_out
    assert (reason, waiting) == ("In another batch that is still running.", chosen)
    batches.cancel_batch(first, UserFactory.create())
    assert previewed(chosen).asked == 3


def test_the_preview_says_how_many_are_more_than_one_number_gets_in_a_day(settings, drain):
    settings.SMS_PER_NUMBER_DAY = 2
    chosen = parcels(4, msisdn="447700900777")
    found = previewed(chosen).timing
    assert (found.today, found.capped, found.paused) == (2, 2, 0)
    start(chosen)
    assert len(drain()) == 2


def test_the_preview_says_how_many_wait_for_the_hour_of_their_number(settings, clock, drain):
    settings.SMS_PER_NUMBER_HOUR = 1
    chosen = parcels(2, msisdn="447700900777")
    found = previewed(chosen).timing
    assert (found.today, found.capped, found.paused) == (2, 0, 1)
    start(chosen)
    assert len(drain()) == 1
    clock("2026-11-23 11:01")
    assert len(drain()) == 1


def timing(texts, now, ahead=0):
    """Return the timing of these texts after `ahead` others."""
    forecast = Forecast({text.msisdn for text in texts}, wall(now), Backlog(ahead))
    for text in texts:
        forecast.add(text)
    return forecast.timing


@pytest.mark.parametrize(
    ("now", "rate", "count", "expected"),
    [
        ("2026-11-23 10:00", 25, 300, (300, 0, 0, 0)),
        ("2026-11-23 19:50", 1, 3000, (600, 2400, 0, 0)),
        ("2026-11-23 21:00", 25, 10, (0, 10, 0, 0)),
        ("2026-11-23 10:00", 0.01, 600, (360, 143, 97, 0)),
        ("2026-11-26 20:40", 0.01, 50, (0, 0, 0, 50)),
    ],
)
def test_timing_counts_todays_texts_and_reasons_for_later_ones(
    now, rate, count, expected, settings, clock
):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    settings.SMS_RATE_PER_SECOND, settings.SMS_RATE_PER_NUMBER = rate, None
    closes = wall("2026-12-05 21:00") if expected[3] == 0 else wall("2026-11-26 21:00")
    texts = [ForecastText(f"4477{number:08d}", closes) for number in range(count)]
    found = timing(texts, now)
    assert (found.today, found.quiet, found.slow, found.closed) == expected


def test_queued_texts_leave_before_the_batch(settings):
    settings.QUIET_HOURS, settings.SMS_RATE_PER_SECOND = None, 1
    texts = [ForecastText("447700900123", wall("2026-11-26 21:00"))]
    found = timing(texts, "2026-11-23 10:00", ahead=59)
    assert found.ends_at == wall("2026-11-23 10:01")

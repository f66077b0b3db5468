"""The company's time zone: days, quiet hours, cut-offs, lifetimes of texts, and both clock changes."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.models import Kind, MessageState, OutboundMessage, Outcome, Slot
from bookings.notifications.asking import CannotNotify, notify
from bookings.notifications.drafts import draft_notification
from tests.factories import BookingFactory, OutboundMessageFactory, SlotFactory
from tests.flow.clock import clock_at, wall

pytestmark = pytest.mark.django_db

TUE, WED, THU, FRI = (dt.date(2026, 11, 24 + ahead) for ahead in range(4))
NIGHT = (dt.time(20), dt.time(8))


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcel(date=FRI, hour=9, **fields):
    window = {"window_start": dt.time(hour), "window_end": dt.time(hour + 2)}
    return BookingFactory.create(slot=SlotFactory.create(date=date, **window), **fields)


def utc(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def in_utc(moment):
    """Convert for comparison: in a skipped or repeated hour, times of two zones are never equal (PEP 495)."""
    return moment.astimezone(dt.UTC)


# The company's zone decides days


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Europe/London", "tomorrow Tue 24 Nov"),
        ("Asia/Tokyo", "today Tue 24 Nov"),
        ("America/New_York", "tomorrow Tue 24 Nov"),
    ],
)
def test_the_companys_zone_decides_which_day_is_today(settings, time_machine, zone, words):
    settings.TIME_ZONE, settings.CHANGE_CUTOFF_HOURS = zone, 1
    time_machine.move_to(utc("2026-11-23 17:00"), tick=False)
    assert draft_notification(parcel(TUE, hour=12)).options[0].words == words


# Quiet hours


@pytest.mark.parametrize(
    ("quiet", "moment", "is_sent"),
    [
        pytest.param(NIGHT, "2026-11-23 19:59:59", True, id="a second before"),
        pytest.param(NIGHT, "2026-11-23 20:00", False, id="from 20:00"),
        pytest.param(NIGHT, "2026-11-24 03:00", False, id="at night"),
        pytest.param(NIGHT, "2026-11-24 07:59:59", False, id="until 08:00"),
        pytest.param(NIGHT, "2026-11-24 08:00", True, id="at 08:00"),
        pytest.param((dt.time(12), dt.time(14)), "2026-11-23 13:00", False, id="at noon"),
        pytest.param((dt.time(12), dt.time(14)), "2026-11-23 14:00", True, id="after noon"),
        pytest.param((dt.time(12), dt.time(14)), "2026-11-24 03:00", True, id="noon: at night"),
        pytest.param(None, "2026-11-24 03:00", True, id="none"),
    ],
)
def test_quiet_hours_hold_notifications(settings, clock, drain, quiet, moment, is_sent):
    settings.QUIET_HOURS = quiet
    notification = notify(parcel())
    clock(moment)
    assert len(drain()) == is_sent
    expected = MessageState.SUBMITTED if is_sent else MessageState.QUEUED
    assert notification.outbound_messages.get().state == expected


def test_notification_held_overnight_leaves_in_the_morning_unchanged(settings, clock, drain):
    settings.QUIET_HOURS = NIGHT
    clock("2026-11-23 21:00")
    notification = notify(parcel())
    assert drain() == []
    clock("2026-11-24 00:00")
    assert drain() == []
    clock("2026-11-24 08:00")
    [form] = drain()
    assert form["text"] == notification.outbound_messages.get().text


def test_an_answer_to_the_customers_own_text_goes_at_once(settings, clock, reply, drain):
    booking = parcel()
    notify(booking)
    drain()
    settings.QUIET_HOURS = NIGHT
    clock("2026-11-23 23:00")
    for text in ("2", "HELP", "STOP"):
        inbound = reply(booking.msisdn, text)
        assert [form["text"] for form in drain()] == [inbound.answers.get().text]


@pytest.mark.parametrize(
    ("moment", "is_sent"),
    [
        pytest.param("2026-11-24 00:00", True, id="after an hour"),
        pytest.param("2026-11-24 00:01", False, id="after over an hour"),
        pytest.param("2026-11-24 08:00", True, id="in the morning"),
    ],
)
def test_an_answer_queued_over_an_hour_ago_waits_for_the_morning(
    settings, clock, reply, drain, moment, is_sent
):
    booking = parcel()
    notify(booking)
    drain()
    settings.QUIET_HOURS = NIGHT
    clock("2026-11-23 23:00")
    reply(booking.msisdn, "2")
    clock(moment)
    assert len(drain()) == is_sent


@pytest.mark.parametrize(
    ("date", "hour", "is_sent"),
    [
        pytest.param(TUE, 9, True, id="in the morning"),
        pytest.param(TUE, 22, True, id="in 24 hours"),
        pytest.param(WED, 9, False, id="later"),
    ],
)
def test_words_of_dispatch_wait_unless_the_delivery_is_near(
    settings, clock, drain, date, hour, is_sent
):
    settings.QUIET_HOURS = NIGHT
    clock("2026-11-23 22:00")
    slot = SlotFactory.create(date=date, window_start=dt.time(hour), window_end=dt.time(hour, 30))
    booking = BookingFactory.create(slot=slot)
    OutboundMessageFactory.create(kind=Kind.TOLD, booking=booking, text="Moved.", gateway="vonage")
    assert len(drain()) == is_sent


# Thirty minutes


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        pytest.param("2026-11-23 20:30", "", id="30 minutes left"),
        pytest.param("2026-11-23 20:30:01", "Less than 30 minutes", id="less"),
        pytest.param("2026-11-23 21:00", "too late", id="none"),
    ],
)
def test_customer_is_not_asked_with_less_than_30_minutes_to_answer(clock, moment, reason):
    booking = parcel(TUE)
    clock(moment)
    if reason:
        with pytest.raises(CannotNotify, match=reason):
            notify(booking)
    else:
        assert notify(booking).closes_at == wall("2026-11-23 21:00")


@pytest.mark.parametrize(
    ("moment", "is_sent"),
    [("2026-11-23 20:30", True), ("2026-11-23 20:30:01", False), ("2026-11-23 20:59", False)],
)
def test_a_queued_notification_is_not_sent_with_less(clock, drain, moment, is_sent):
    notify(parcel(TUE))
    clock(moment)
    assert len(drain()) == is_sent


# Remaining life of a text


@pytest.mark.parametrize(
    ("date", "moment", "ttl"),
    [
        pytest.param(TUE, "2026-11-23 10:00", dt.timedelta(hours=11), id="until the close"),
        pytest.param(TUE, "2026-11-23 20:30", dt.timedelta(minutes=30), id="half an hour"),
        pytest.param(FRI, "2026-11-23 21:00", dt.timedelta(hours=72), id="72 hours exactly"),
        pytest.param(FRI, "2026-11-23 10:00", dt.timedelta(hours=72), id="72 hours at most"),
    ],
)
def test_remaining_life_is_given_to_vonage(clock, drain, date, moment, ttl):
    notify(parcel(date))
    clock(moment)
    [form] = drain()
    assert int(form["ttl"]) == ttl / dt.timedelta(milliseconds=1)


def test_a_text_that_says_tomorrow_does_not_arrive_on_another_day(clock, drain):
    notify(parcel(TUE, hour=18))
    clock("2026-11-23 23:00")
    [form] = drain()
    assert int(form["ttl"]) == 60 * 60 * 1000


def test_at_least_20_seconds_are_given_to_vonage(clock, drain):
    notify(parcel(TUE, hour=18))
    clock("2026-11-23 23:59:55")
    [form] = drain()
    assert int(form["ttl"]) == 20_000


# Both changes of the clock: Europe/London, 29 March and 25 October 2026


@pytest.mark.parametrize(
    ("date", "hour", "cutoff", "shown"),
    [
        # The clock goes from 01:00 GMT to 02:00 BST.
        pytest.param("2026-03-29", 9, "2026-03-28 21:00", "Sat 28 Mar 21:00", id="over spring"),
        pytest.param("2026-03-29", 15, "2026-03-29 02:00", "Sun 29 Mar 03:00", id="spring day"),
        pytest.param("2026-03-29", 13, "2026-03-29 01:00", "Sun 29 Mar 02:00", id="skipped hour"),
        pytest.param("2026-03-30", 9, "2026-03-29 20:00", "Sun 29 Mar 21:00", id="after spring"),
        # The clock goes from 02:00 BST to 01:00 GMT.
        pytest.param("2026-10-25", 9, "2026-10-24 20:00", "Sat 24 Oct 21:00", id="over autumn"),
        pytest.param("2026-10-25", 13, "2026-10-25 00:00", "Sun 25 Oct 01:00", id="double hour"),
        pytest.param("2026-10-25", 15, "2026-10-25 03:00", "Sun 25 Oct 03:00", id="autumn day"),
        pytest.param("2026-10-26", 9, "2026-10-25 21:00", "Sun 25 Oct 21:00", id="after autumn"),
    ],
)
def test_cutoff_hours_follow_local_time(clock, date, hour, cutoff, shown):
    day = dt.date.fromisoformat(date)
    clock(f"{day - dt.timedelta(days=3)} 10:00")
    booking = parcel(day, hour)
    planned = draft_notification(booking)
    assert in_utc(booking.slot.cutoff_at) == in_utc(planned.closes_at) == utc(cutoff)
    assert f"before {shown}" in planned.text


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        pytest.param("2026-03-28 20:59", Outcome.MOVED, id="a minute before"),
        pytest.param("2026-03-28 21:00", Outcome.TOO_LATE, id="at the cut-off"),
    ],
)
def test_the_night_of_the_clocks_change_has_its_cutoff_by_the_wall(
    clock, reply, drain, moment, outcome
):
    clock("2026-03-28 10:00")
    booking = parcel(dt.date(2026, 3, 29))
    notify(booking)
    drain()
    clock(moment)
    assert reply(booking.msisdn, "2").outcome == outcome


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"], ids=["spring", "autumn"])
def test_a_day_of_23_or_25_hours_ends_at_midnight_on_the_wall(clock, day):
    # Asked on the day of the change, about tomorrow.
    day = dt.date.fromisoformat(day) + dt.timedelta(days=1)
    clock(f"{day} 00:30")
    planned = draft_notification(parcel(day + dt.timedelta(days=1), hour=18))
    midnight = timezone.localtime(planned.valid_until)
    assert (midnight.date(), midnight.time()) == (day + dt.timedelta(days=1), dt.time())
    lasts = planned.valid_until - timezone.now()
    assert lasts in {dt.timedelta(hours=22.5), dt.timedelta(hours=24.5)}


def test_window_starting_in_the_skipped_hour_is_kept_and_notified(clock):
    clock("2026-03-28 10:00")
    slot = Slot.objects.create(
        date=dt.date(2026, 3, 29), window_start=dt.time(1, 30), window_end=dt.time(4)
    )
    assert in_utc(slot.starts_at) == utc("2026-03-29 01:30")  # 02:30 on the wall
    assert in_utc(slot.ends_at) == utc("2026-03-29 03:00")
    assert slot.cutoff_at == utc("2026-03-28 13:30")
    notification = notify(BookingFactory.create(slot=slot))
    words = [option.words for option in notification.options.all()]
    assert words == ["tomorrow Sun 29 Mar", "Mon 30 Mar", "post office"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"], ids=["spring", "autumn"])
def test_quiet_hours_end_by_the_wall_on_the_day_of_the_change(settings, clock, drain, day):
    settings.QUIET_HOURS = NIGHT
    date = dt.date.fromisoformat(day)
    clock(f"{date - dt.timedelta(days=1)} 21:00")
    notify(parcel(date + dt.timedelta(days=3)))
    clock(f"{date} 07:59:59")
    assert drain() == []
    clock(f"{date} 08:00")
    assert len(drain()) == 1


def test_digits_rest_for_hours_that_pass_and_not_for_hours_on_the_wall(clock, drain):
    clock("2026-10-24 10:00")
    phone = "447700900123"
    closing = parcel(dt.date(2026, 10, 25), hour=13, msisdn=phone)
    assert in_utc(notify(closing).closes_at) == utc("2026-10-25 00:00")  # 01:00 on the wall
    drain()
    later = parcel(dt.date(2026, 10, 28), msisdn=phone)
    clock("2026-10-25 11:59")
    assert draft_notification(later).options[0].digit == 4
    clock("2026-10-25 12:00")
    assert draft_notification(later).options[0].digit == 1


def test_nothing_is_sent_twice_in_the_hour_that_comes_twice(time_machine, drain):
    time_machine.move_to(utc("2026-10-25 00:30"), tick=False)  # 01:30 BST
    notify(parcel(dt.date(2026, 10, 28)))
    assert len(drain()) == 1
    time_machine.move_to(utc("2026-10-25 01:30"), tick=False)  # 01:30 GMT
    assert drain() == []
    assert OutboundMessage.objects.count() == 1

"""Starting the demo: at any hour, a second time, weeks later, and refusals."""

import datetime as dt
import io

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.informed import count_not_informed
from bookings.management.demo import fortnight
from bookings.management.demo.fortnight import Fortnight
from bookings.models import (
    Booking,
    InboundMessage,
    Notification,
    OutboundMessage,
    Slot,
    Ticket,
)
from bookings.operations import alarms
from bookings.operations.invariants import find_contradictions
from bookings.outbox.claiming import due_now
from bookings.web.demo import fiction, first_booking

pytestmark = pytest.mark.django_db

TABLES = (Booking, Slot, Notification, OutboundMessage, InboundMessage, Ticket, User)


def demo():
    out = io.StringIO()
    call_command("demo", stdout=out)
    return out.getvalue()


def first():
    booking = first_booking()
    assert booking is not None
    return booking


def counts():
    return [table.objects.count() for table in TABLES]


@pytest.fixture(autouse=True)
def quarter(monkeypatch):
    """Make a quarter of the deliveries: these tests are about the hour."""
    monkeypatch.setattr(fortnight, "BEHIND", (10,) * 7)
    monkeypatch.setattr(fortnight, "AHEAD", (24, 22, 14, 10, 5, 3, 2))


# At any hour

STARTS = [
    ("2026-11-24T00:05:00Z", 12),
    ("2026-11-21T07:00:00Z", 12),  # a Saturday
    ("2026-11-22T19:30:00Z", 12),  # a Sunday
    ("2026-11-23T23:55:00Z", 12),
    ("2026-10-24T12:00:00Z", 0),  # the clocks go back tonight
    ("2026-03-28T19:30:00Z", 48),  # the clocks go forward tonight
]


@pytest.mark.parametrize(("start", "cutoff"), STARTS)
def test_demo_is_full_and_healthy_at_any_hour(settings, start, cutoff):
    settings.CHANGE_CUTOFF_HOURS = cutoff
    with time_machine.travel(start, tick=False):
        demo()
        assert list(find_contradictions()) == []
        booking = first()
        notification = Notification.objects.get(booking=booking)
        assert notification.is_open_at(timezone.now())
        assert booking.slot.cutoff_at > timezone.now() + dt.timedelta(hours=2)
        assert [option.digit for option in notification.options.all()] == [1, 2, 3]
        today = timezone.localdate()
        for day in (today, today + dt.timedelta(days=1)):
            assert Booking.objects.scheduled().on(day).count() >= 15
            assert count_not_informed([day])[day] <= 4
        assert not alarms.current_alarms()
        assert not due_now(timezone.now()).exists()
        assert 5 <= Ticket.objects.waiting().count() <= 25
        hour_ago = timezone.now() - dt.timedelta(hours=1)
        assert InboundMessage.objects.filter(received_at__gte=hour_ago).exists()


@pytest.mark.parametrize("day", ["2026-11-21", "2026-11-23", "2026-10-24", "2026-03-28"])
@pytest.mark.parametrize("cutoff", [0, 12, 48])
def test_first_slot_can_be_changed_and_late_slot_cannot(settings, day, cutoff):
    settings.CHANGE_CUTOFF_HOURS = cutoff
    moment = timezone.make_aware(dt.datetime.fromisoformat(f"{day}T00:10:00"))
    with time_machine.travel(moment, tick=False) as clock:
        slots = Fortnight(timezone.now()).make_slots()
        while timezone.localdate().isoformat() == day:
            plan = Fortnight(timezone.now())
            first_slot, late_slot = plan.first_slot(slots), plan.late_slot(slots)
            assert first_slot.cutoff_at > timezone.now() + dt.timedelta(hours=6)
            assert first_slot.date <= timezone.localdate() + dt.timedelta(days=4)
            assert late_slot.cutoff_at <= timezone.now()
            assert not cutoff or timezone.now() < late_slot.ends_at
            clock.shift(dt.timedelta(hours=1))


# Started again


def test_second_start_changes_nothing():
    demo()
    before = counts()
    demo()
    assert counts() == before


def test_weeks_later_there_is_a_fresh_fortnight_beside_the_old():
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False):
        demo()
    with time_machine.travel("2026-12-07T12:00:00Z", tick=False):
        demo()
        assert first().slot.cutoff_at > timezone.now()
        assert Booking.objects.scheduled().on(timezone.localdate()).count() >= 15
        assert list(find_contradictions()) == []
    assert Booking.objects.count() == 300


def test_cancelled_first_booking_is_replaced():
    demo()
    dispatch.cancel(first())
    demo()
    assert first().is_scheduled
    assert Booking.objects.count() == 151
    assert Notification.objects.filter(booking=first()).exists()


@pytest.mark.parametrize(
    ("region", "begins", "count"),
    [("GB", "447700900", 999), ("US", "1", 1000), ("FR", "3363998", 1000)],
)
def test_demo_numbers_are_reserved_numbers_of_the_companys_country(settings, region, begins, count):
    settings.PHONE_REGION = region
    numbers = fiction.mobiles()
    assert len(set(numbers)) == len(numbers) == count
    assert all(number.startswith(begins) for number in numbers)
    assert region != "US" or all(number[4:8] == "5550" for number in numbers)


# Refusals and logins


def test_demo_refuses_where_texts_are_real(settings):
    settings.SMS_GATEWAY = "vonage"
    with pytest.raises(CommandError, match="simulator"):
        demo()
    assert not Booking.objects.exists()


def test_demo_refuses_where_its_numbers_may_not_be_texted(settings):
    settings.SMS_COUNTRIES = ["DE"]
    with pytest.raises(CommandError, match="SMS_COUNTRIES"):
        demo()
    assert not Booking.objects.exists()

"""The week's pattern makes the slots of the coming weeks; closed days get none, and none are offered on them."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.urls import reverse

from bookings.models import Booking, ClosedDay, Place, Slot, WeeklySlot
from bookings.scheduling import weekly_pattern
from bookings.scheduling.offers import offered_slots
from tests.factories import BookingFactory, SlotFactory
from tests.flow.admin.pages import login, url
from tests.flow.clock import clock_at, wall

pytestmark = pytest.mark.django_db

MON, TUE, WED, THU, FRI, SAT, SUN = (dt.date(2026, 11, 23 + ahead) for ahead in range(7))
NEXT_MON, NEXT_TUE = dt.date(2026, 11, 30), dt.date(2026, 12, 1)
MORNING = {"window_start": dt.time(9), "window_end": dt.time(12)}
MAKE = "admin:bookings_weeklyslot_make"


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


@pytest.fixture
def pattern():
    """Mondays and Tuesdays in the morning, Tuesdays at the post office too."""
    for weekday, place in ((0, Place.DOOR), (1, Place.DOOR), (1, Place.POST_OFFICE)):
        WeeklySlot.objects.create(weekday=weekday, place=place, capacity=20, **MORNING)


def made():
    return list(Slot.objects.order_by("date", "place").values_list("date", "place", "capacity"))


# Making them


def test_slots_are_made_from_tomorrow_on_for_so_many_weeks(pattern):
    assert weekly_pattern.make_slots(1) == 3
    assert made() == [
        (TUE, "door", 20),
        (TUE, "post_office", 20),
        (NEXT_MON, "door", 20),
    ]
    assert weekly_pattern.make_slots(2) == 3
    assert Slot.objects.count() == 6


def test_running_it_again_changes_nothing(pattern):
    weekly_pattern.make_slots(8)
    before = made()
    assert weekly_pattern.make_slots(8) == 0
    assert made() == before


def test_a_slot_that_was_made_by_hand_stays_as_it_is(pattern):
    SlotFactory.create(date=TUE, capacity=3, **MORNING)
    other = SlotFactory.create(date=TUE, window_start=dt.time(13), window_end=dt.time(17))
    assert weekly_pattern.make_slots(1) == 2
    assert Slot.objects.get(date=TUE, place="door", **MORNING).capacity == 3
    assert Slot.objects.filter(pk=other.pk).exists()


def test_a_closed_day_gets_none(pattern):
    ClosedDay.objects.create(date=TUE, reason="Stock-taking")
    assert weekly_pattern.make_slots(1) == 1
    assert made() == [(NEXT_MON, "door", 20)]


@pytest.mark.parametrize("count", [0, 9, -1])
def test_only_one_to_eight_weeks_can_be_made(pattern, count):
    with pytest.raises(ValueError, match="1 to 8 weeks"):
        weekly_pattern.make_slots(count)
    with pytest.raises(CommandError, match="1 to 8 weeks"):
        call_command("make_slots", weeks=count)


def test_the_command_makes_two_weeks_if_not_told_otherwise(pattern):
    out = StringIO()
    call_command("make_slots", stdout=out)
    call_command("make_slots", weeks=3, stdout=out)
    assert out.getvalue().split("\n")[:2] == ["slots made: 6", "slots made: 3"]


def test_more_slots_take_no_more_queries(pattern, django_assert_max_num_queries):
    with django_assert_max_num_queries(7):
        weekly_pattern.make_slots(8)


# The pages


def test_pattern_page_previews_the_slots_and_makes_them_when_posted(dispatcher, pattern):
    ClosedDay.objects.create(date=NEXT_TUE, reason="Stock-taking")
    slots = dispatcher.get(url(Slot, "changelist")).content.decode()
    assert reverse(MAKE) in slots
    shown = dispatcher.get(reverse(MAKE), {"weeks": 2}).content.decode()
    for words in ("4 new slots", "Tue 24 Nov 2026", "closed: <bdi>Stock-taking</bdi>"):
        assert words in shown
    assert not Slot.objects.exists()
    dispatcher.post(reverse(MAKE), {"weeks": 2})
    assert Slot.objects.count() == 4
    again = dispatcher.get(reverse(MAKE), {"weeks": 2}).content.decode()
    assert "All slots exist already" in again
    dispatcher.post(reverse(MAKE), {"weeks": 2})
    assert Slot.objects.count() == 4


@pytest.mark.parametrize("nonsense", ["", "0", "99", "x"])
def test_invalid_number_of_weeks_makes_no_slots(dispatcher, pattern, nonsense):
    assert dispatcher.get(reverse(MAKE), {"weeks": nonsense}).status_code == 200
    assert dispatcher.post(reverse(MAKE), {"weeks": nonsense}).status_code == 200
    assert not Slot.objects.exists()


def test_without_a_pattern_the_page_says_what_to_do(dispatcher):
    assert "Add a window" in dispatcher.get(reverse(MAKE)).content.decode()


def test_user_without_add_permission_makes_no_slots(pattern):
    auditor = login("Auditor")
    assert auditor.post(reverse(MAKE), {"weeks": 2}).status_code == 403
    assert reverse(MAKE) not in auditor.get(url(Slot, "changelist")).content.decode()
    assert not Slot.objects.exists()


def test_the_pattern_is_added_changed_and_deleted_and_slots_of_it_stay(dispatcher):
    window = {"weekday": 1, "window_start": "09:00", "window_end": "12:00", "place": "door"}
    dispatcher.post(url(WeeklySlot, "add"), window | {"capacity": "5"})
    weekly_pattern.make_slots(1)
    weekly = WeeklySlot.objects.get()
    dispatcher.post(url(WeeklySlot, "change", weekly.pk), window | {"capacity": "6"})
    assert WeeklySlot.objects.get().capacity == 6
    assert "window already exists" in str(
        dispatcher.post(url(WeeklySlot, "add"), window | {"capacity": "5"}).content
    )
    dispatcher.post(url(WeeklySlot, "delete", weekly.pk), {"post": "yes"})
    assert not WeeklySlot.objects.exists()
    assert made() == [(TUE, "door", 5)]


def test_closing_a_day_says_how_many_deliveries_stand_on_it(dispatcher):
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    response = dispatcher.post(
        url(ClosedDay, "add"), {"date": "2026-11-24", "reason": "Snow"}, follow=True
    )
    assert "1 deliveries are booked that day." in response.content.decode()
    assert Booking.objects.get().slot == booking.slot
    with pytest.raises(IntegrityError):
        ClosedDay.objects.create(date=TUE)


# Option 2


def later_slot(booked, moment="2026-11-23 10:00"):
    """What is offered on a later day, if anything is."""
    offered = offered_slots([booked], wall(moment))[booked.pk]
    return next((slot for slot in offered if slot.date > booked.date), None)


def test_a_slot_on_a_day_that_was_closed_later_is_not_offered():
    booked = SlotFactory.create(date=TUE)
    SlotFactory.create(date=WED)
    free = SlotFactory.create(date=FRI)
    ClosedDay.objects.create(date=WED)
    assert later_slot(booked) == free


def test_no_slot_is_made_for_the_offer_on_a_closed_day():
    booked = SlotFactory.create(date=TUE)
    slot = later_slot(booked)
    assert slot is not None
    assert slot.date == WED
    ClosedDay.objects.create(date=WED)
    ClosedDay.objects.create(date=THU)
    slot = later_slot(booked)
    assert slot is not None
    assert slot.date == FRI


def test_option_2_is_left_out_when_all_days_ahead_are_closed():
    booked = SlotFactory.create(date=TUE)
    for ahead in range(1, 15):
        ClosedDay.objects.create(date=TUE + dt.timedelta(days=ahead))
    assert later_slot(booked) is None

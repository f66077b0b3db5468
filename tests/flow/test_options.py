"""Options of a notification: keep the slot, the next later date, the post office; and their words."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.models import Booking, OutboundMessage, Place, Slot
from bookings.notifications.asking import CannotNotify, notify
from bookings.notifications.drafts import draft_notification
from bookings.scheduling.offers import offered_slots
from tests.factories import BookingFactory, SlotFactory
from tests.flow.clock import clock_at, wall

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MON, TUE, WED, THU, FRI, SAT, SUN = (dt.date(2026, 11, 23 + ahead) for ahead in range(7))
NEXT_MON = dt.date(2026, 11, 30)
MORNING = {"window_start": dt.time(9), "window_end": dt.time(12)}
AFTERNOON = {"window_start": dt.time(13), "window_end": dt.time(17)}


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def slot(date, window=MORNING, **fields):
    return SlotFactory.create(date=date, **window, **fields)


def fill(full):
    BookingFactory.create_batch(full.capacity, slot=full)


def offered(booking, **how):
    """Return each digit's place, date and window start."""
    return [
        (option.slot.place, option.slot.date, option.slot.window_start.hour)
        for option in draft_notification(booking, **how).options
    ]


def words(booking, **how):
    return [option.words for option in draft_notification(booking, **how).options]


def printed(booking, **how):
    """Return the options as the text prints them."""
    text = draft_notification(booking, **how).text
    return text.split("Reply ")[1].split(" before ")[0]


# Slots


def test_a_slot_is_unique_by_place_date_and_window():
    BookingFactory.create(slot=slot(TUE))
    dispatch.book(
        reference="AB12",
        customer_name="",
        msisdn="447700900001",
        slot=Slot(date=TUE, **MORNING),
    )
    assert Slot.objects.filter(date=TUE).count() == 1


@pytest.mark.parametrize("place", Place)
def test_the_cutoff_is_so_many_hours_before_the_window_starts(settings, place):
    settings.CHANGE_CUTOFF_HOURS = 12
    assert slot(TUE, place=place).cutoff_at == wall("2026-11-23 21:00")
    settings.CHANGE_CUTOFF_HOURS = 36
    assert slot(TUE, place=place).cutoff_at == wall("2026-11-22 21:00")


@pytest.mark.parametrize(
    ("capacity", "taken", "is_offered"),
    [
        pytest.param(None, 30, True, id="empty is no limit"),
        pytest.param(0, 0, False, id="0 is closed"),
        pytest.param(2, 1, True, id="one place left"),
        pytest.param(2, 2, False, id="full"),
        pytest.param(2, 3, False, id="overfull"),
    ],
)
def test_only_a_slot_with_room_is_offered(capacity, taken, is_offered):
    booking = BookingFactory.create(slot=slot(TUE))
    later = slot(WED, capacity=capacity)
    BookingFactory.create_batch(taken, slot=later)
    assert (("door", WED, 9) in offered(booking)) == is_offered


def test_room_is_counted_without_cancelled_bookings():
    booking = BookingFactory.create(slot=slot(TUE))
    later = slot(WED, capacity=1)
    other = BookingFactory.create(slot=later)
    assert ("door", WED, 9) not in offered(booking)
    dispatch.cancel(other)
    assert ("door", WED, 9) in offered(booking)


@pytest.mark.parametrize("capacity", [0, 1], ids=["closed since", "full"])
def test_the_slot_it_has_can_be_kept_without_room_for_another(capacity):
    booking = BookingFactory.create(slot=slot(TUE, capacity=capacity))
    assert offered(booking)[0] == ("door", TUE, 9)


def test_a_post_office_slot_has_the_date_and_window_of_the_door_slot_and_no_limit():
    booking = BookingFactory.create(slot=slot(TUE, capacity=1))
    notify(booking)
    post_office = Slot.objects.get(place=Place.POST_OFFICE)
    assert (post_office.date, post_office.window) == (TUE, "09:00-12:00")
    assert post_office.capacity is None
    assert post_office.cutoff_at == booking.slot.cutoff_at


def test_a_post_office_slot_is_made_once():
    door = slot(TUE)
    for booking in BookingFactory.create_batch(2, slot=door):
        notify(booking)
    assert Slot.objects.filter(place=Place.POST_OFFICE).count() == 1


def test_the_post_office_can_be_switched_off(settings):
    settings.OFFER_POST_OFFICE = False
    assert printed(BookingFactory.create(slot=slot(TUE))) == (
        "1 (tomorrow Tue 24 Nov) or 2 (Wed 25 Nov)"
    )


# Options


def test_the_three_options_are_keep_the_next_later_date_and_the_post_office():
    booking = BookingFactory.create(slot=slot(TUE))
    slot(FRI)
    slot(THU)
    assert offered(booking) == [("door", TUE, 9), ("door", THU, 9), ("post_office", TUE, 9)]


def test_the_options_are_printed_as_digits_with_their_words_in_brackets():
    booking = BookingFactory.create(slot=slot(TUE))
    slot(THU)
    assert printed(booking) == "1 (tomorrow Tue 24 Nov), 2 (Thu 26 Nov) or 3 (post office)"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        pytest.param(TUE, "1 (tomorrow Tue 24 Nov), 2 (Thu 26 Nov 13:00-17:00)", id="later"),
        pytest.param(WED, "1 (Wed 25 Nov), 2 (Thu 26 Nov 13:00-17:00)", id="not tomorrow"),
    ],
)
def test_the_window_is_printed_where_it_differs_from_the_bookings(date, expected):
    booking = BookingFactory.create(slot=slot(date))
    slot(THU, AFTERNOON)
    assert printed(booking).startswith(expected)


def test_a_delivery_of_today_is_called_today_with_its_date(settings):
    settings.CHANGE_CUTOFF_HOURS = 1
    booking = BookingFactory.create(slot=slot(MON, AFTERNOON))
    assert printed(booking) == ("1 (today Mon 23 Nov), 2 (tomorrow Tue 24 Nov) or 3 (post office)")


def test_printed_options_are_stored_and_sent():
    booking = BookingFactory.create(slot=slot(TUE))
    planned = draft_notification(booking)
    notification = notify(booking)
    assert notification.outbound_messages.get().text == planned.text
    stored = notification.options.values_list("digit", "words")
    assert list(stored) == [(option.digit, option.words) for option in planned.options]


def test_a_later_date_in_the_same_window_goes_before_an_earlier_window_of_that_day():
    booking = BookingFactory.create(slot=slot(TUE, AFTERNOON))
    slot(THU)
    slot(THU, AFTERNOON)
    assert offered(booking)[1] == ("door", THU, 13)


def test_another_window_of_the_next_later_date_goes_before_the_same_window_later():
    booking = BookingFactory.create(slot=slot(TUE, AFTERNOON))
    slot(THU)
    slot(FRI, AFTERNOON)
    assert offered(booking)[1] == ("door", THU, 9)


def test_another_window_of_the_same_date_is_no_later_date():
    booking = BookingFactory.create(slot=slot(TUE))
    slot(TUE, AFTERNOON)
    assert offered(booking)[1] == ("door", WED, 9)


def test_a_full_later_date_is_passed_over():
    booking = BookingFactory.create(slot=slot(TUE))
    fill(slot(WED, capacity=1))
    slot(FRI)
    assert offered(booking)[1] == ("door", FRI, 9)


def test_a_full_window_of_a_later_date_leaves_its_other_window():
    booking = BookingFactory.create(slot=slot(TUE))
    fill(slot(WED, capacity=1))
    slot(WED, AFTERNOON)
    assert offered(booking)[1] == ("door", WED, 13)


def test_without_a_later_slot_the_booked_window_is_made_on_the_next_day():
    booking = BookingFactory.create(slot=slot(TUE, AFTERNOON, capacity=7))
    made = notify(booking).options.get(digit=2).slot
    assert (made.place, made.date, made.window) == ("door", WED, "13:00-17:00")
    assert made.capacity == 7


@pytest.mark.parametrize(
    ("days", "booked", "made"),
    [
        pytest.param({0, 1, 2, 3, 4, 5}, SAT, NEXT_MON, id="no Sundays"),
        pytest.param({0, 1, 2, 3, 4, 5, 6}, SAT, SUN, id="every day"),
        pytest.param({0, 3}, TUE, THU, id="Mondays and Thursdays"),
        pytest.param({1}, TUE, dt.date(2026, 12, 1), id="once a week"),
    ],
)
def test_a_slot_is_only_made_on_a_delivery_day(settings, days, booked, made):
    settings.DELIVERY_DAYS = frozenset(days)
    booking = BookingFactory.create(slot=slot(booked))
    assert offered(booking)[1] == ("door", made, 9)


def test_a_slot_of_staff_on_another_day_is_offered_as_it_is():
    booking = BookingFactory.create(slot=slot(SAT))
    slot(SUN)
    assert offered(booking)[1] == ("door", SUN, 9)


def test_a_full_or_closed_day_is_not_made_anew():
    booking = BookingFactory.create(slot=slot(TUE))
    fill(slot(WED, capacity=1))
    slot(THU, capacity=0)
    assert offered(booking)[1] == ("door", FRI, 9)
    assert Slot.objects.get(date=THU).capacity == 0


def test_a_day_that_another_booking_made_is_used_by_the_next():
    door = slot(TUE)
    for booking in BookingFactory.create_batch(2, slot=door):
        notify(booking)
    assert Slot.objects.filter(place=Place.DOOR, date__gt=TUE).count() == 1


def test_planning_writes_nothing():
    booking = BookingFactory.create(slot=slot(TUE))
    draft_notification(booking)
    assert Slot.objects.count() == 1
    assert not OutboundMessage.objects.exists()


def test_a_delivery_that_is_not_stored_yet_can_be_planned():
    booking = Booking(reference="AB12", msisdn="447700900001", slot=Slot(date=TUE, **MORNING))
    assert printed(booking) == "1 (tomorrow Tue 24 Nov), 2 (Wed 25 Nov) or 3 (post office)"
    assert not Slot.objects.exists()


def test_at_the_post_office_it_can_stay_or_come_to_the_door_later():
    slot(TUE, capacity=7)
    booking = BookingFactory.create(slot=slot(TUE, place=Place.POST_OFFICE, capacity=None))
    assert printed(booking) == "1 (post office) or 2 (Wed 25 Nov)"
    assert notify(booking).options.get(digit=2).slot.capacity == 7


def test_with_nothing_else_to_offer_it_can_only_be_kept(settings):
    settings.OFFER_POST_OFFICE = False
    settings.DELIVERY_DAYS = frozenset()
    assert printed(BookingFactory.create(slot=slot(TUE))) == "1 (tomorrow Tue 24 Nov)"


def test_unavailable_options_are_left_out_and_digits_close_up(settings):
    settings.DELIVERY_DAYS = frozenset()
    assert printed(BookingFactory.create(slot=slot(TUE))) == (
        "1 (tomorrow Tue 24 Nov) or 2 (post office)"
    )


# Options chosen by staff


def test_staff_may_choose_others():
    booking = BookingFactory.create(slot=slot(TUE))
    notification = notify(booking, slots=[booking.slot, slot(FRI, AFTERNOON), slot(SAT)])
    assert [option.words for option in notification.options.all()] == [
        "tomorrow Tue 24 Nov",
        "Fri 27 Nov 13:00-17:00",
        "Sat 28 Nov",
    ]
    assert notification.has_chosen_options


def test_a_slot_that_staff_choose_is_made_if_it_does_not_exist():
    booking = BookingFactory.create(slot=slot(TUE))
    notify(booking, slots=[booking.slot, Slot(date=FRI, **MORNING, capacity=3)])
    assert Slot.objects.get(date=FRI).capacity == 3


@pytest.mark.parametrize("is_stored", [True, False], ids=["as a row", "by its time"])
def test_a_full_slot_that_staff_choose_is_left_out(is_stored):
    booking = BookingFactory.create(slot=slot(TUE))
    full = slot(THU, capacity=1)
    fill(full)
    chosen = full if is_stored else Slot(date=THU, **MORNING)
    assert words(booking, slots=[booking.slot, chosen, slot(SAT)]) == [
        "tomorrow Tue 24 Nov",
        "Sat 28 Nov",
    ]


def test_a_slot_that_staff_choose_twice_is_offered_once():
    booking = BookingFactory.create(slot=slot(TUE))
    again = Slot(date=TUE, **MORNING)
    assert words(booking, slots=[booking.slot, again, slot(SAT), slot(SAT)]) == [
        "tomorrow Tue 24 Nov",
        "Sat 28 Nov",
    ]


def test_a_slot_past_its_cutoff_is_left_out(clock):
    booking = BookingFactory.create(slot=slot(THU))
    assert words(booking, slots=[slot(TUE), booking.slot]) == ["tomorrow Tue 24 Nov", "Thu 26 Nov"]
    clock("2026-11-23 21:00")
    assert words(booking, slots=[slot(TUE), booking.slot]) == ["Thu 26 Nov"]


def test_customer_is_not_asked_when_no_chosen_option_is_available():
    booking = BookingFactory.create(slot=slot(THU))
    with pytest.raises(CannotNotify, match="None of the chosen slots"):
        notify(booking, slots=[slot(TUE, capacity=0)])
    assert not booking.notifications.exists()


def test_no_more_than_three_are_offered():
    booking = BookingFactory.create(slot=slot(TUE))
    assert len(words(booking, slots=[slot(day) for day in (TUE, WED, THU, FRI)])) == 3


def test_full_days_cost_no_queries():
    slot(SAT)
    with CaptureQueriesContext(connection) as without:
        notify(BookingFactory.create(slot=slot(TUE)))
    for day in (WED, THU, FRI):
        fill(slot(day, capacity=2))
    with CaptureQueriesContext(connection) as with_full_days:
        notification = notify(BookingFactory.create(slot=slot(TUE)))
    assert notification.options.get(digit=2).slot.date == SAT
    assert len(with_full_days) <= len(without)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's readers lock nobody out")
def test_option_lookup_waits_for_no_writer():
    slot = SlotFactory.create()
    with CaptureQueriesContext(connection) as queries:
        offered_slots([slot], timezone.now())
    assert len(queries) > 0
    assert not [query for query in queries if "BEGIN" in query["sql"]]

"""Changes to bookings by staff and imports: book, move, cancel, reinstate, change the phone number."""

import datetime as dt

import pytest

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.bookings import CannotBook
from bookings.models import Booking, BookingState, ChangeCause, Place, Slot, SlotChange
from bookings.scheduling.capacity import count_booked
from tests.factories import BookingFactory, SlotFactory, UserFactory
from tests.flow.clock import clock_at, wall

pytestmark = pytest.mark.django_db

MON, TUE, WED, THU = (dt.date(2026, 11, 23 + ahead) for ahead in range(4))
MORNING = {"window_start": dt.time(9), "window_end": dt.time(12)}


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def book(slot, reference="AB12", **fields):
    details = {"customer_name": "Ada", "msisdn": "447700900123"} | fields
    return dispatch.book(reference=reference, slot=slot, **details)


def full(date=THU):
    slot = SlotFactory.create(date=date, capacity=1)
    BookingFactory.create(slot=slot)
    return slot


def closed():
    return SlotFactory.create(date=THU, capacity=0)


def over():
    return SlotFactory.create(date=MON - dt.timedelta(days=1))


# Book


def test_a_delivery_is_booked_into_a_slot():
    slot = SlotFactory.create(date=TUE)
    booking = book(slot, language="en", notes="Ring twice")
    booking.refresh_from_db()
    assert (booking.reference, booking.customer_name, booking.msisdn) == (
        "AB12",
        "Ada",
        "447700900123",
    )
    assert (booking.slot, booking.notes, booking.state) == (slot, "Ring twice", "scheduled")


def test_a_slot_that_does_not_exist_is_made():
    booking = book(Slot(date=TUE, **MORNING, capacity=3))
    assert Slot.objects.get() == booking.slot
    assert booking.slot.capacity == 3


def test_a_slot_that_exists_is_taken_with_its_own_capacity():
    slot = full(TUE)
    with pytest.raises(CannotBook, match=r"Slot full \(1 of 1\)"):
        book(Slot(date=TUE, **MORNING))
    assert Slot.objects.get() == slot


@pytest.mark.parametrize(
    ("slot", "reason"),
    [(full, "Slot full (1 of 1)"), (closed, "Slot closed"), (over, "Slot has passed")],
)
def test_unavailable_slot_is_refused_with_the_reason(slot, reason):
    target = slot()
    before = Booking.objects.count()
    with pytest.raises(CannotBook) as refusal:
        book(target)
    assert str(refusal.value) == f"{reason}: {target}."
    assert Booking.objects.count() == before


def test_a_delivery_can_be_booked_until_its_window_ends(clock):
    slot = SlotFactory.create(date=MON, capacity=None)
    clock("2026-11-23 11:59")
    book(slot, "AB12")
    clock("2026-11-23 12:00")
    with pytest.raises(CannotBook, match="Slot has passed"):
        book(slot, "CD34")


def test_a_reference_is_booked_once():
    slot = SlotFactory.create(date=TUE)
    book(slot)
    with pytest.raises(CannotBook, match="with the reference AB12 already"):
        book(slot)
    assert Booking.objects.count() == 1


def test_the_last_place_is_given_once():
    slot = SlotFactory.create(date=TUE, capacity=1)
    book(slot, "AB12")
    with pytest.raises(CannotBook, match="Slot full"):
        book(slot, "CD34")


def test_a_slot_without_a_limit_takes_any_number():
    slot = SlotFactory.create(date=TUE, capacity=None)
    for number in range(30):
        book(slot, f"P-{number}")
    assert count_booked(slot) == 30


# Move


@pytest.mark.parametrize("cause", [ChangeCause.STAFF, ChangeCause.IMPORT])
def test_move_is_recorded_with_cause_and_user(cause):
    user = UserFactory.create()
    before, after = SlotFactory.create(date=TUE), SlotFactory.create(date=THU)
    booking = BookingFactory.create(slot=before)
    change = dispatch.move(booking, after, cause=cause, user=user)
    assert booking.slot == after
    booking.refresh_from_db()
    assert booking.slot == after
    assert change == SlotChange.objects.get()
    assert (change.from_slot, change.to_slot, change.cause) == (before, after, cause)
    assert (change.user, change.created_at) == (user, wall("2026-11-23 10:00"))


def test_a_move_to_a_slot_that_does_not_exist_makes_it():
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    dispatch.move(booking, Slot(date=WED, place=Place.POST_OFFICE, **MORNING))
    booking.refresh_from_db()
    assert (booking.slot.place, booking.slot.date) == (Place.POST_OFFICE, WED)


@pytest.mark.parametrize("is_stored", [True, False], ids=["as a row", "by its time"])
def test_move_to_the_same_slot_changes_nothing(is_stored):
    slot = SlotFactory.create(date=TUE, capacity=1)
    booking = BookingFactory.create(slot=slot)
    assert dispatch.move(booking, slot if is_stored else Slot(date=TUE, **MORNING)) is None
    assert not SlotChange.objects.exists()


@pytest.mark.parametrize("slot", [full, closed, over])
def test_move_to_a_full_slot_moves_nothing(slot):
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    with pytest.raises(CannotBook):
        dispatch.move(booking, slot())
    booking.refresh_from_db()
    assert booking.slot.date == TUE
    assert not SlotChange.objects.exists()


def test_move_reads_the_current_capacity():
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    remembered = SlotFactory.create(date=THU, capacity=20)
    Slot.objects.filter(pk=remembered.pk).update(capacity=0)
    with pytest.raises(CannotBook, match="Slot closed"):
        dispatch.move(booking, remembered)


def test_move_starts_from_the_current_slot():
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    remembered = Booking.objects.get(pk=booking.pk)
    dispatch.move(booking, SlotFactory.create(date=WED))
    change = dispatch.move(remembered, SlotFactory.create(date=THU))
    assert change is not None
    assert change.from_slot.date == WED


def test_a_slot_left_by_a_move_has_room_again():
    slot = SlotFactory.create(date=TUE, capacity=1)
    first = BookingFactory.create(slot=slot)
    dispatch.move(first, SlotFactory.create(date=WED))
    assert book(slot).slot == slot


# Cancel and reinstate


def test_cancellation_is_recorded_with_time_and_user(clock):
    user = UserFactory.create()
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE))
    dispatch.cancel(booking, user=user)
    assert booking.state == BookingState.CANCELLED
    assert (booking.cancelled_at, booking.cancelled_by) == (wall("2026-11-23 10:00"), user)
    clock("2026-11-23 11:00")
    dispatch.cancel(booking)
    assert (booking.cancelled_at, booking.cancelled_by) == (wall("2026-11-23 10:00"), user)


def test_a_cancelled_delivery_leaves_its_place_to_another():
    slot = SlotFactory.create(date=TUE, capacity=1)
    dispatch.cancel(BookingFactory.create(slot=slot))
    assert book(slot).slot == slot


def test_a_cancellation_can_be_taken_back():
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUE, capacity=1))
    dispatch.cancel(booking)
    dispatch.reinstate(booking)
    assert booking.is_scheduled
    assert (booking.cancelled_at, booking.cancelled_by) == (None, None)
    dispatch.reinstate(booking)
    assert booking.is_scheduled


def test_cancellation_cannot_be_undone_once_the_slot_is_full():
    slot = SlotFactory.create(date=TUE, capacity=1)
    booking = BookingFactory.create(slot=slot)
    dispatch.cancel(booking)
    book(slot)
    with pytest.raises(CannotBook, match="Slot full"):
        dispatch.reinstate(booking)
    booking.refresh_from_db()
    assert booking.state == BookingState.CANCELLED


# Phone


def test_the_phone_number_of_a_booking_can_be_changed():
    booking = BookingFactory.create()
    dispatch.change_phone(booking, "447911123456")
    assert booking.msisdn == "447911123456"
    booking.refresh_from_db()
    assert booking.msisdn == "447911123456"

"""Importing a manifest: the effect of its rows on bookings and slots."""

import datetime as dt

import pytest
from django.db import connection

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports import import_rows
from bookings.models import (
    Booking,
    ChangeCause,
    MessageState,
    NotificationState,
    OutboundMessage,
    Place,
    Slot,
    move_booking,
)
from bookings.notifications.asking import notify
from bookings.scheduling.capacity import count_booked
from tests.factories import BookingFactory, InboundMessageFactory, SlotFactory, in_days
from tests.flow.sheets import DAY, HEADER, NEXT_DAY, counts, entries, everything, load, row

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_new_rows_become_bookings_and_their_slots():
    header = [*HEADER, "place", "language", "notes", "capacity"]
    report = load(
        [*row("A1"), "", "en", "gate code 7", "2"],
        [*row("A2", phone="+44 7700 900002"), "post_office", "", "", ""],
        header=header,
    )
    assert counts(report) == (2, 0, 0, 0, 0)
    first, second = Booking.objects.select_related("slot").order_by("reference")
    assert (first.msisdn, first.notes, first.language) == ("447700900001", "gate code 7", "en")
    assert (first.slot.date, first.slot.window, first.slot.capacity) == (DAY, "09:00-12:00", 2)
    assert (second.slot.place, second.slot.capacity) == (Place.POST_OFFICE, None)


def test_a_bad_row_keeps_no_other_out():
    report = load(row("A1"), row("A2", phone="0712"), row("A3"))
    assert counts(report) == (2, 0, 0, 0, 1)
    assert str(report.refused[0]) == "row 3: 0712 is too short for a phone number."
    assert set(Booking.objects.values_list("reference", flat=True)) == {"A1", "A3"}


def test_a_reference_is_taken_once_and_the_later_row_names_the_first():
    report = load(row("A1"), row("A2"), row("A1", phone="07700900009"))
    assert counts(report) == (2, 0, 0, 0, 1)
    assert str(report.refused[0]) == "row 4: Duplicate of row 2 (A1)."
    assert Booking.objects.get(reference="A1").msisdn == "447700900001"


def test_a_row_beyond_the_capacity_of_its_slot_is_refused():
    SlotFactory.create(date=DAY, capacity=2)
    BookingFactory.create(slot=Slot.objects.get())
    report = load(row("A1"), row("A2"), row("A3", date=NEXT_DAY))
    assert counts(report) == (2, 0, 0, 0, 1)
    assert report.refused[0].line == 3
    assert "Slot full (2 of 2)" in report.refused[0].reason
    assert count_booked(Slot.objects.get(date=DAY)) == 2


def test_a_slot_that_is_nearly_full_takes_only_as_many_rows_as_fit():
    slot = SlotFactory.create(date=DAY, capacity=4)
    BookingFactory.create_batch(3, slot=slot)
    assert counts(load(row("A1"), row("A2"), row("A3"))) == (1, 0, 0, 0, 2)
    assert count_booked(slot) == 4


def test_a_closed_slot_takes_no_row():
    SlotFactory.create(date=DAY, capacity=0)
    (remark,) = load(row("A1")).refused
    assert "Slot closed" in remark.reason


def test_rows_that_disagree_on_a_capacity_are_refused_from_the_second_on():
    header = [*HEADER, "capacity"]
    report = load(
        [*row("A1"), ""], [*row("A2"), "5"], [*row("A3"), "6"], [*row("A4"), "5"], header=header
    )
    assert counts(report) == (3, 0, 0, 0, 1)
    assert str(report.refused[0]) == "row 4: Capacity 6 contradicts row 3 (5)."
    assert Slot.objects.get().capacity == 5


def test_an_empty_capacity_leaves_it_as_it_is():
    SlotFactory.create(date=DAY, capacity=7)
    load([*row("A1"), ""], header=[*HEADER, "capacity"])
    assert Slot.objects.get().capacity == 7


def test_a_capacity_below_what_the_slot_holds_is_refused():
    slot = SlotFactory.create(date=DAY, capacity=7)
    BookingFactory.create_batch(3, slot=slot)
    report = load([*row("A1"), "2"], header=[*HEADER, "capacity"])
    assert "3 deliveries are booked" in report.refused[0].reason
    slot.refresh_from_db()
    assert (slot.capacity, count_booked(slot)) == (7, 3)


def test_capacity_of_zero_closes_a_slot_and_moves_nobody():
    header = [*HEADER, "capacity"]
    load([*row("A1"), "7"], header=header)
    assert not load([*row("A1"), "0"], header=header).refused
    slot = Slot.objects.get()
    assert (slot.capacity, count_booked(slot)) == (0, 1)


def test_a_capacity_that_dispatch_changed_since_is_not_set_back_by_the_same_file():
    file = [[*row("A1"), "20"]]
    load(*file, header=[*HEADER, "capacity"])
    Slot.objects.update(capacity=0)
    load(*file, header=[*HEADER, "capacity"])
    assert Slot.objects.get().capacity == 0
    load([*row("A1"), "21"], header=[*HEADER, "capacity"])
    assert Slot.objects.get().capacity == 21


def test_a_capacity_that_one_row_says_anew_is_set_though_another_row_says_nothing():
    header = [*HEADER, "capacity"]
    load([*row("A1"), "20"], [*row("A2"), ""], header=header)
    (change,) = load([*row("A1"), "25"], [*row("A2"), ""], header=header).changed_rows
    assert "20 \N{RIGHTWARDS ARROW} 25" in change.reason
    assert Slot.objects.get().capacity == 25
    load([*row("A1"), "25"], [*row("A2"), ""], [*row("A3"), "30"], header=header)
    assert Slot.objects.get().capacity == 25  # as the first row says: the third contradicts it
    load([*row("A1"), ""], [*row("A2"), ""], [*row("A3"), "30"], header=header)
    assert Slot.objects.get().capacity == 30


def test_a_day_that_has_passed_is_refused():
    yesterday = in_days(-1)
    (remark,) = load(row("A1", date=yesterday), row("A2", date=in_days(0))).refused
    assert str(remark) == "row 2: Date is in the past."
    assert not Slot.objects.filter(date=yesterday).exists()


def test_the_same_file_again_changes_nothing():
    rows = [row(f"A{number}") for number in range(5)]
    load(*rows)
    notify(Booking.objects.get(reference="A0"))
    before = everything()
    assert counts(load(*rows)) == (0, 0, 5, 0, 0)
    assert everything() == before


def test_the_same_file_again_undoes_nothing_that_dispatch_changed():
    load(row("A1"))
    Booking.objects.update(customer_name="Anna", notes="rings twice")
    load(row("A1"))
    booking = Booking.objects.get()
    assert (booking.customer_name, booking.notes) == ("Anna", "rings twice")


def test_yesterdays_file_is_accepted_for_rows_already_imported():
    report = load(row("A1"))
    past = SlotFactory.create(date=in_days(-1))
    booking = Booking.objects.get()
    booking.imported = {**(booking.imported or {}), "date": f"{past.date}"}
    booking.slot = past
    booking.save()
    report = load(row("A1", date=past.date))
    assert counts(report) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"date": NEXT_DAY}, id="date"),
        pytest.param({"start": "10:00"}, id="window"),
        pytest.param({"phone": "07700900009"}, id="phone"),
    ],
)
def test_changed_row_is_applied_and_withdraws_the_notification(changed):
    load(row("A1"))
    notification = notify(Booking.objects.get())
    assert counts(load(row("A1", **changed))) == (0, 1, 0, 0, 0)
    notification.refresh_from_db()
    assert notification.state == NotificationState.WITHDRAWN
    assert OutboundMessage.objects.get().state == MessageState.CANCELLED
    booking = Booking.objects.get()
    date, start = changed.get("date", DAY), changed.get("start", "09:00")
    assert (booking.slot.date, f"{booking.slot.window_start:%H:%M}") == (date, start)
    assert booking.msisdn == ("447700900009" if "phone" in changed else "447700900001")


def test_imported_move_records_cause_and_user(django_user_model):
    user = django_user_model.objects.create(username="dora")
    load(row("A1"))
    load(row("A1", date=NEXT_DAY), user=user)
    change = Booking.objects.get().slot_changes.get()
    assert (change.cause, change.user) == (ChangeCause.IMPORT, user)


def test_a_new_name_is_written_and_withdraws_nothing():
    load(row("A1"))
    notification = notify(Booking.objects.get())
    assert counts(load(row("A1", name="Beth"))) == (0, 1, 0, 0, 0)
    assert Booking.objects.get().customer_name == "Beth"
    notification.refresh_from_db()
    assert notification.state == NotificationState.OPEN


def test_a_slot_that_the_customer_chose_since_is_kept():
    load(row("A1"))
    booking = Booking.objects.get()
    chosen = SlotFactory.create(date=NEXT_DAY)
    reply = InboundMessageFactory.create(booking=booking)
    move_booking(booking, chosen, ChangeCause.REPLY, inbound=reply)
    report = load(row("A1"))
    assert counts(report) == (0, 0, 0, 1, 0)
    assert str(report.kept[0]) == f"row 2: A1 stays in {chosen}, which the customer chose."
    assert Booking.objects.get().slot == chosen


def test_slot_chosen_by_dispatch_since_is_kept():
    load(row("A1"))
    booking = Booking.objects.get()
    dispatch.move(booking, SlotFactory.create(date=NEXT_DAY))
    dispatch.change_phone(booking, "447700900009")
    (kept,) = load(row("A1")).kept
    assert "which dispatch chose" in kept.reason
    assert "phone number that dispatch gave it" in kept.reason
    booking = Booking.objects.get()
    assert (booking.slot.date, booking.msisdn) == (NEXT_DAY, "447700900009")


def test_row_moves_a_booking_that_the_customer_moved_before():
    load(row("A1"))
    dispatch.move(Booking.objects.get(), SlotFactory.create(date=NEXT_DAY))
    later = in_days(5)
    assert counts(load(row("A1", date=later))) == (0, 1, 0, 0, 0)
    assert Booking.objects.get().slot.date == later


def test_a_booking_made_by_hand_is_left_where_it_is_until_its_row_changes():
    slot = SlotFactory.create(date=DAY)
    booking = BookingFactory.create(
        reference="A1", msisdn="447700900001", customer_name="Ann", slot=slot
    )
    assert counts(load(row("A1", date=NEXT_DAY))) == (0, 0, 0, 1, 0)
    booking.refresh_from_db()
    assert booking.slot == slot
    later = in_days(6)
    assert counts(load(row("A1", date=later))) == (0, 1, 0, 0, 0)
    booking.refresh_from_db()
    assert booking.slot.date == later


def test_an_empty_cell_takes_nothing_away_from_a_booking_made_by_hand():
    booking = BookingFactory.create(reference="A1", customer_name="Mary", notes="Gate code 12")
    cells = [*row("A1", name="", phone=f"+{booking.msisdn}"), ""]
    load(cells, header=[*HEADER, "notes"])
    booking.refresh_from_db()
    assert (booking.customer_name, booking.notes) == ("Mary", "Gate code 12")


def test_a_cancelled_booking_stays_cancelled_and_where_it_is():
    load(row("A1"))
    dispatch.cancel(Booking.objects.get())
    report = load(row("A1", date=NEXT_DAY))
    assert counts(report) == (0, 0, 0, 1, 0)
    assert "A1 stays cancelled" in report.kept[0].reason
    assert Booking.objects.get().slot.date == DAY


def test_a_move_into_a_full_slot_is_refused_and_leaves_the_row_to_be_tried_again():
    full = SlotFactory.create(date=NEXT_DAY, capacity=1)
    other = BookingFactory.create(slot=full)
    load(row("A1"))
    moved = row("A1", date=NEXT_DAY, phone="07700900009")
    (remark,) = load(moved).refused
    assert "Slot full" in remark.reason
    booking = Booking.objects.get(reference="A1")
    assert (booking.slot.date, booking.msisdn) == (DAY, "447700900001")
    dispatch.cancel(other)
    assert counts(load(moved)) == (0, 1, 0, 0, 0)


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for real"])
def test_a_move_into_a_window_that_is_over_is_refused(dry_run, time_machine):
    load(row("A1"))
    time_machine.move_to(dt.datetime.combine(DAY, dt.time(15), dt.UTC))
    (remark,) = load(row("A1", start="08:00", end="09:00"), dry_run=dry_run).refused
    assert "Slot has passed" in remark.reason


def test_a_row_booked_by_somebody_else_meanwhile_is_refused_alone():
    rows = entries(row("A1"), row("A2"))
    slot = SlotFactory.create(date=NEXT_DAY)
    waiting = ["A1"]

    def book_meanwhile(execute, sql, params, many, context):
        if sql.startswith('SELECT "bookings_slot"') and waiting:
            BookingFactory.create(reference=waiting.pop(), slot=slot)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(book_meanwhile):
        report = import_rows(rows)
    assert counts(report) == (1, 0, 0, 0, 1)
    assert "by somebody else just now" in report.refused[0].reason
    assert set(Booking.objects.values_list("reference", flat=True)) == {"A1", "A2"}

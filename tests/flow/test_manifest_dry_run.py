"""A dry run predicts the import's result, and both take few queries."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports import import_rows, importing
from bookings.models import (
    Booking,
    Notification,
    NotificationState,
    OutboundMessage,
    Slot,
    SlotChange,
)
from bookings.notifications.asking import notify
from tests.factories import OutboundMessageFactory, SlotFactory, in_days
from tests.flow.sheets import (
    DAY,
    HEADER,
    LATER,
    NEXT_DAY,
    counts,
    crowd,
    entries,
    everything,
    load,
    row,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("dry_run", [False, True], ids=["for real", "dry run"])
@pytest.mark.parametrize("order", [1, -1], ids=["leaves first", "comes first"])
def test_row_order_does_not_decide_which_rows_fit(order, dry_run):
    header = [*HEADER, "capacity"]
    before = [[*row("A1"), "1"], [*row("A2", date=NEXT_DAY), "1"]]
    load(*before, header=header)
    after = [
        [*row("A1", date=NEXT_DAY), "1"],
        [*row("A2", date=in_days(5)), "1"],
        [*row("A3"), "1"],
    ]
    report = load(*after[::order], header=header, dry_run=dry_run)
    assert counts(report) == (1, 2, 0, 0, 0)


@pytest.fixture
def busy_week():
    """Bookings that a file can create, change, leave, keep and refuse."""
    SlotFactory.create(date=DAY, capacity=4)
    load(*[row(f"A{number}") for number in range(4)])
    dispatch.move(Booking.objects.get(reference="A1"), SlotFactory.create(date=NEXT_DAY))
    dispatch.cancel(Booking.objects.get(reference="A3"))
    notify(Booking.objects.get(reference="A0"))
    return entries(
        [*row("A0", date=in_days(5)), "3"],  # moved into a new slot
        [*row("A1"), ""],  # kept
        [*row("A2"), ""],  # unchanged
        [*row("A3"), ""],  # cancelled
        *crowd(),
        header=[*HEADER, "capacity"],
    )


def test_dry_run_writes_nothing_and_reports_the_real_result(busy_week):
    before = everything()
    promised = import_rows(busy_week, dry_run=True)
    assert everything() == before
    assert counts(promised) == (5, 1, 1, 2, 3)
    assert import_rows(busy_week) == promised


def test_a_dry_run_only_reads(busy_week):
    with CaptureQueriesContext(connection) as queries:
        import_rows(busy_week, dry_run=True)
    verbs = {query["sql"].split()[0] for query in queries}
    assert verbs <= {"SELECT", "SAVEPOINT", "RELEASE"}


def test_many_new_rows_take_few_queries():
    rows = entries(*[row(f"A{number}") for number in range(1200)])
    with CaptureQueriesContext(connection) as queries:
        assert import_rows(rows).created == 1200
    assert len(queries) < 60


def test_many_moved_rows_take_few_queries():
    load(*[row(f"A{number}", phone=f"+4477009{number:05d}") for number in range(300)])
    moved = [
        row(f"A{number}", phone=f"+4477009{number:05d}", date=NEXT_DAY) for number in range(300)
    ]
    with CaptureQueriesContext(connection) as queries:
        assert load(*moved).changed == 300
    assert len(queries) < 50
    assert Booking.objects.filter(slot__date=NEXT_DAY).count() == 300
    assert SlotChange.objects.filter(from_slot__date=DAY, to_slot__date=NEXT_DAY).count() == 300


def test_moved_rows_withdraw_their_open_notifications():
    """As with a move by hand: an open notification, a queued text, and a text in its call."""
    numbers = range(6)
    load(*[row(f"A{number}", phone=f"+4477009{number:05d}") for number in numbers])
    bookings = {booking.reference: booking for booking in Booking.objects.all()}
    notification, past = notify(bookings["A1"]), notify(bookings["A2"])
    Notification.objects.filter(pk=past.pk).update(closes_at=timezone.now())
    texts = {
        name: OutboundMessageFactory.create(booking=bookings[name], kind="told", state=state)
        for name, state in (("A3", "queued"), ("A4", "unknown"), ("A5", "delivered"))
    }
    OutboundMessage.objects.filter(pk=texts["A4"].pk).update(call_started_at=timezone.now())
    stays = load(*[row(f"B{number}", phone=f"+4477008{number:05d}") for number in numbers])
    other = notify(Booking.objects.get(reference="B1"))
    assert stays.created == 6
    load(*[row(f"A{n}", phone=f"+4477009{n:05d}", date=NEXT_DAY) for n in numbers])
    for row_ in (notification, past, other, *texts.values()):
        row_.refresh_from_db()
    because = f"moved to {Slot.objects.get(date=NEXT_DAY)}"
    assert (notification.state, notification.withdrawn_because) == (
        NotificationState.WITHDRAWN,
        because,
    )
    assert not notification.options.filter(is_held=True).exists()
    assert (past.state, other.state) == (NotificationState.CLOSED, NotificationState.OPEN)
    told = [(text.state, text.reason, text.never_again) for text in texts.values()]
    assert told == [("cancelled", because, ""), ("unknown", "", because), ("delivered", "", "")]


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for real"])
def test_a_row_that_names_the_slot_it_is_in_makes_no_room_there(dry_run):
    load(row("A1"), row("A2"))
    full = SlotFactory.create(date=NEXT_DAY, capacity=1)
    dispatch.move(Booking.objects.get(reference="A1"), full)
    report = load(row("A1", date=NEXT_DAY), row("A2", date=NEXT_DAY), dry_run=dry_run)
    assert counts(report) == (0, 1, 0, 0, 1)
    assert "Slot full (1 of 1)" in report.refused[0].reason


def test_two_deliveries_swap_their_places_in_full_slots():
    here = [row("A1", date=DAY), row("A2", date=NEXT_DAY, phone="07700 900002")]
    there = [row("A1", date=NEXT_DAY), row("A2", date=DAY, phone="07700 900002")]
    load(*([*cells, "1"] for cells in here), header=[*HEADER, "capacity"])
    assert counts(load(*there)) == (0, 2, 0, 0, 0)


@pytest.mark.parametrize("together", [4, 3], ids=["at once", "too many at once"])
def test_dry_run_predicts_a_swap_over_several_chunks(monkeypatch, together):
    monkeypatch.setattr(importing, "CHANGES", 2)
    monkeypatch.setattr(importing, "_TOGETHER", together)
    days = {"A1": DAY, "A2": DAY, "B1": NEXT_DAY, "B2": NEXT_DAY}
    header = [*HEADER, "capacity"]
    load(*([*row(name, date=day), "2"] for name, day in days.items()), header=header)
    others = {DAY: NEXT_DAY, NEXT_DAY: DAY}
    there = [row(name, date=others[day]) for name, day in days.items()]
    foretold = counts(load(*there, dry_run=True))
    assert counts(load(*there)) == foretold
    if together == 4:
        assert foretold == (0, 4, 0, 0, 0)


def test_refused_row_keeps_its_slot_and_blocks_the_row_that_wanted_it():
    phones = [f"07700 90000{n}" for n in range(3)]
    here = [
        row("A1", date=DAY, phone=phones[0]),
        row("A2", date=NEXT_DAY, phone=phones[1]),
        row("A3", date=LATER, phone=phones[2]),
    ]
    load(*([*cells, "1"] for cells in here), header=[*HEADER, "capacity"])
    there = [row("A1", date=NEXT_DAY, phone=phones[0]), row("A2", date=LATER, phone=phones[1])]
    report = load(*there)
    assert counts(report) == (0, 0, 0, 0, 2)
    assert "Slot full (1 of 1)" in report.refused[0].reason
    days = Booking.objects.order_by("reference").values_list("slot__date", flat=True)
    assert list(days) == [DAY, NEXT_DAY, LATER]

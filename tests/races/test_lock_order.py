"""Actions that lock the same rows do so in one order; otherwise PostgreSQL ends one as a deadlock."""

import datetime as dt
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from bookings.admin.shared.row_versions import seen_word
from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports import import_rows
from bookings.models import (
    Booking,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Slot,
    Ticket,
)
from bookings.notifications import batches
from bookings.notifications.asking import close_past, notify, renew_stale
from bookings.notifications.batches import ask_waiting
from bookings.outbox import holding
from bookings.outbox.recovery import cancel_for_opted_out
from tests.factories import (
    BookingFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SlotFactory,
    TicketFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import form_of, login, url
from tests.flow.sheets import DAY, entries, row
from tests.processes import VIRTUAL_NUMBER

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one lock only"),
]

LONG_ENOUGH = 20  # seconds
_WAITING = """
    SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN (
        SELECT pid FROM pg_locks JOIN pg_database ON oid = database WHERE datname = current_database()
    )
"""


def meet_at(rows: QuerySet[Any], *acts: Callable[[], Any]) -> list[Any]:
    """Start the acts one after another while another transaction locks rows that all need, and return their results."""

    def run(act: Callable[[], Any]) -> Any:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as threads:
        begun: list[Future[Any]] = []
        with transaction.atomic():
            list(rows.select_for_update())
            for act in acts:
                begun.append(threads.submit(run, act))
                _see_waiting(len(begun))
    return [each.result() for each in begun]


def _see_waiting(count: int) -> None:
    until = time.monotonic() + LONG_ENOUGH
    with connection.cursor() as cursor:
        while cursor.execute(_WAITING).fetchone() != (count,):
            assert time.monotonic() < until, f"not {count} that wait for a lock"
            time.sleep(0.02)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"date": in_days(5)}, id="both move"),
        pytest.param({"phone": "07700 900009"}, id="one moves, one has another number"),
    ],
)
def test_a_batch_is_cancelled_while_an_import_changes_its_deliveries(change):
    """Reminders were queued in another order than that in which the import handles the deliveries."""
    slot = SlotFactory.create(date=DAY, capacity=None)
    deliveries = [row(name, f"07700 90000{number}") for number, name in enumerate("AB", 1)]
    import_rows(entries(*deliveries))
    batch = batches.start_batch(
        Booking.objects.filter(slot=slot),
        nonce="nonce",
        user=UserFactory.create(),
        sender=VIRTUAL_NUMBER,
        with_reminder=True,
    )
    ask_waiting()
    OutboundMessage.objects.update(state=MessageState.DELIVERED)
    for notification in Notification.objects.order_by("-booking__reference"):
        notification.hand_over(notification.created_at)
        OutboundMessageFactory.create(
            kind=Kind.REMINDER, booking=notification.booking, notification=notification
        )
    reminders = OutboundMessage.objects.filter(kind=Kind.REMINDER).order_by("pk")
    changed = entries(
        row("A", **{"phone": "07700 900001"} | change),
        row("B", "07700 900002", in_days(5)),
    )

    is_cancelled, report = meet_at(
        reminders[:1],
        lambda: batches.cancel_batch(batch, batch.user),
        lambda: import_rows(changed),
    )

    assert is_cancelled
    assert report.changed == 2
    assert not OutboundMessage.objects.queued().exists()


def test_a_delivery_gets_the_number_of_another_while_both_are_imported():
    deliveries = [row(name, f"07700 90000{number}") for number, name in enumerate("AB", 1)]
    import_rows(entries(*deliveries))
    first, second = Booking.objects.order_by("reference")
    for booking in (second, first):  # whose lock an import waits for last
        NotificationFactory.create(booking=booking)
    page = login("superuser")
    fields = form_of(first, msisdn="07700 900002", told="nobody")
    changed = entries(*(row(name, f"07700 90000{n}", in_days(5)) for n, name in enumerate("AB", 1)))

    response, report = meet_at(
        Booking.objects.filter(pk=first.pk),
        lambda: page.post(url(Booking, "change", first.pk), fields),
        lambda: import_rows(changed),
    )

    assert response.status_code == 302
    assert report.changed == 2


def held_texts(booking: Booking) -> QuerySet[OutboundMessage]:
    """Hold a text to the booking's next number and a later one about the booking; returns the later one."""
    other = BookingFactory.create(msisdn="447700900002")
    OutboundMessageFactory.create(booking=other, kind=Kind.TOLD, is_held=True)
    last = OutboundMessageFactory.create(booking=booking, kind=Kind.TOLD, is_held=True)
    return OutboundMessage.objects.filter(pk=last.pk)


def test_import_changes_number_and_day_while_ops_release_held_texts():
    import_rows(entries(row("A", "07700 900001")))
    changed = entries(row("A", "07700 900002", in_days(5)))
    rows = held_texts(Booking.objects.get())
    report, _ = meet_at(rows, lambda: import_rows(changed), holding.release)
    assert report.changed == 1


def test_new_number_is_asked_while_ops_release_held_texts():
    booking = BookingFactory.create(msisdn="447700900001")
    page, fields = login("superuser"), form_of(booking, msisdn="07700 900002", told="ask")
    address = url(Booking, "change", booking.pk)
    response, _ = meet_at(held_texts(booking), lambda: page.post(address, fields), holding.release)
    assert response.status_code == 302


def test_notification_is_renewed_while_texts_to_its_number_are_cancelled():
    notification = NotificationFactory.create(handed_over_at=None)
    other = BookingFactory.create(msisdn=notification.msisdn)
    OutboundMessageFactory.create(booking=other, kind=Kind.TOLD)
    last = OutboundMessageFactory.create(
        notification=notification, valid_until=timezone.now() - dt.timedelta(minutes=1)
    )
    with transaction.atomic():
        consent.change(notification.msisdn, is_opted_out=True, words="STOP")
    meet_at(OutboundMessage.objects.filter(pk=last.pk), renew_stale, cancel_for_opted_out)
    assert not OutboundMessage.objects.queued().exists()


def test_notifications_close_while_ops_release_held_texts():
    """The notification that was made first has the later text."""
    past = timezone.now() - dt.timedelta(minutes=1)
    first, second = NotificationFactory.create_batch(2, handed_over_at=None, closes_at=past)
    OutboundMessageFactory.create(notification=second, is_held=True)
    last = OutboundMessageFactory.create(notification=first, is_held=True)

    closed, _ = meet_at(OutboundMessage.objects.filter(pk=last.pk), close_past, holding.release)

    assert closed == 2
    assert not OutboundMessage.objects.queued().exists()


def test_a_customer_is_asked_while_a_delivery_moves_between_the_slots_that_are_offered():
    """The later day is the older row, as when a week is planned from its end."""
    later = SlotFactory.create(date=in_days(5), capacity=None)
    booked = SlotFactory.create(date=in_days(4), capacity=None)
    asked, moved = BookingFactory.create_batch(2, slot=booked)

    notification, change = meet_at(
        Slot.objects.filter(pk=booked.pk),
        lambda: notify(asked),
        lambda: dispatch.move(moved, later),
    )

    assert {option.slot for option in notification.options.all()} >= {booked, later}
    assert change.to_slot == later


def test_an_option_is_applied_while_the_other_delivery_of_its_ticket_gets_that_number_back():
    """The ticket is about a delivery that has another number since; a second one has the number."""
    number = "447700900001"
    about = BookingFactory.create(msisdn="447700900002")
    NotificationFactory.create(booking=about)
    second = BookingFactory.create(msisdn=number)
    option = NotificationFactory.create(booking=second).options.get(digit=2)
    ticket = TicketFactory.create(inbound__booking=about, inbound__msisdn=number)
    Ticket.objects.filter(pk=ticket.pk).update(msisdn=number, booking=about)
    client = login("superuser")
    fields = {"act": "apply", "option": option.pk, "seen": ticket.pk, "shown": seen_word(second)}

    page, _ = meet_at(
        Booking.objects.filter(pk=second.pk),
        lambda: client.post(url(Ticket, "act", ticket.pk), fields),
        lambda: dispatch.change_phone(about, number),
    )

    assert page.status_code == 302
    about.refresh_from_db()
    second.refresh_from_db()
    assert (about.msisdn, second.slot_id) == (number, option.slot_id)

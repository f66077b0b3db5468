"""Bookings are in the slots that their changes say, slots are not overbooked, notifications match their bookings."""

from collections.abc import Iterator

from django.db.models import Exists, F, Max, OuterRef, Q, Subquery, Window
from django.db.models.functions import Coalesce, Lag

from bookings.models import (
    Booking,
    BookingState,
    ChangeCause,
    Notification,
    Slot,
    SlotChange,
    SlotOption,
)
from bookings.scheduling.capacity import with_booked


def bookings_are_where_their_last_change_put_them() -> Iterator[str]:
    later = SlotChange.objects.filter(booking=OuterRef("booking"), pk__gt=OuterRef("pk"))
    lost = SlotChange.objects.exclude(to_slot=F("booking__slot")).exclude(Exists(later))
    for change in lost.select_related("booking__slot"):
        booking = change.booking
        yield f"I2 booking {booking}: it is in {booking.slot}, its last change put it elsewhere"


def bookings_know_since_when_they_are_there() -> Iterator[str]:
    moves = SlotChange.objects.filter(booking=OuterRef("pk")).order_by()
    since = moves.values("booking").annotate(
        since=Max(Coalesce("inbound__received_at", "created_at"))
    )
    known = Booking.objects.annotate(since=Subquery(since.values("since")))
    wrong = known.exclude(changed_at=None, since=None).exclude(changed_at=F("since"))
    for reference, at, since in wrong.order_by("pk").values_list(
        "reference", "changed_at", "since"
    ):
        yield f"I2 booking {reference}: it was changed at {at}, by its history at {since}"


def changes_follow_one_another() -> Iterator[str]:
    before = Window(Lag("to_slot"), partition_by="booking", order_by="pk")
    gaps = SlotChange.objects.annotate(before=before).filter(before__isnull=False)
    for change in gaps.exclude(before=F("from_slot")).select_related("booking"):
        yield f"I2 booking {change.booking}: slot change {change.pk} starts where it was not"


def slots_hold_no_more_than_their_capacity() -> Iterator[str]:
    """A capacity of 0 closes a slot to others and sends nobody away: that is no contradiction."""
    limited = with_booked(Slot.objects.filter(capacity__gt=0))
    over = limited.filter(load_now__gt=F("capacity")).order_by("pk")
    for slot, capacity, load in over.values_list("pk", "capacity", "load_now"):
        yield f"I9 slot {slot}: it holds {load} bookings and has room for {capacity}"


def open_notifications_fit_their_bookings() -> Iterator[str]:
    """A cancellation, another phone number or a move by others withdraws the notification."""
    asked = Notification.objects.open().select_related("booking").order_by("pk")
    moved = SlotChange.objects.exclude(cause=ChangeCause.REPLY).filter(
        booking=OuterRef("booking"), created_at__gt=OuterRef("created_at")
    )
    faults = {
        "its booking is cancelled": ~Q(booking__state=BookingState.SCHEDULED),
        "its booking has another phone number": ~Q(booking__msisdn=F("msisdn")),
        "its booking was moved by others since": Exists(moved),
    }
    for fault, condition in faults.items():
        for notification in asked.filter(condition):
            yield f"I2 notification {notification.pk} about {notification.booking} is open: {fault}"


def digits_belong_to_who_was_asked() -> Iterator[str]:
    strange = SlotOption.objects.exclude(msisdn=F("notification__msisdn"))
    for option in strange.order_by("pk"):
        yield f"I2 option {option.pk}: it is another customer's than its notification"
    free = SlotOption.objects.filter(is_held=False, notification__in=Notification.objects.open())
    for option in free.order_by("pk"):
        yield f"I2 option {option.pk}: its notification is open, its digit is free for another"


CHECKS = (
    bookings_are_where_their_last_change_put_them,
    bookings_know_since_when_they_are_there,
    changes_follow_one_another,
    slots_hold_no_more_than_their_capacity,
    open_notifications_fit_their_bookings,
    digits_belong_to_who_was_asked,
)

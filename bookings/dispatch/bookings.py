"""The changes that staff and imports make to bookings: book, move, cancel, reinstate, change the phone number.

Each is one transaction. It locks the customer first, withdraws the open notification and cancels queued texts, so that
the last text that a customer gets is true. `notices` tells the customer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings.models import (
    ActKind,
    Booking,
    BookingState,
    ChangeCause,
    Slot,
    SlotChange,
    StaffAct,
    move_booking,
)
from bookings.notifications.asking import lock_booking, withdraw, withdraw_many
from bookings.scheduling.capacity import why_no_room
from bookings.scheduling.slots import find_or_create

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CannotBook(Exception):
    """The schedule does not allow the change. The text is a sentence for staff."""


def book(
    *,
    reference: str,
    customer_name: str,
    msisdn: str,
    slot: Slot,
    language: str = "en",
    notes: str = "",
) -> Booking:
    """Store a new booking. An unsaved slot is found or created. Raises CannotBook."""
    with transaction.atomic():
        slot = _locked(find_or_create(slot))
        _check_open(slot)
        try:
            with transaction.atomic():
                return Booking.objects.create(
                    reference=reference,
                    customer_name=customer_name,
                    msisdn=msisdn,
                    slot=slot,
                    language=language,
                    notes=notes,
                )
        except IntegrityError:
            if Booking.objects.filter(reference=reference).exists():
                raise CannotBook(
                    f"A booking with the reference {reference} already exists."
                ) from None
            raise


def move(
    booking: Booking,
    slot: Slot,
    *,
    cause: ChangeCause = ChangeCause.STAFF,
    user: "User | None" = None,
) -> SlotChange | None:
    """Move a booking to another slot. Returns None if it is there already. Raises CannotBook."""
    with transaction.atomic():
        current = lock_booking(booking)
        slot = find_or_create(slot)
        if slot.pk == current.slot_id:
            return None
        slot = _locked(slot, current.slot)
        _check_open(slot)
        withdraw(current, f"moved to {slot}")
        change = move_booking(current, slot, cause, user=user)
    booking.slot = slot
    return change


def cancel(booking: Booking, *, user: "User | None" = None) -> None:
    """Cancel a booking. Cancelling it twice changes nothing."""
    with transaction.atomic():
        current = lock_booking(booking)
        if current.is_scheduled:
            withdraw(current, "cancelled")
            current.state = BookingState.CANCELLED
            current.cancelled_at, current.cancelled_by = timezone.now(), user
            current.save(update_fields=["state", "cancelled_at", "cancelled_by"])
            if user is not None:  # kept also when the cancellation is taken back
                _record(ActKind.CALLED_OFF, current, user)
    booking.refresh_from_db()


def reinstate(booking: Booking, *, user: "User | None" = None) -> None:
    """Take back the cancellation of a booking. Raises CannotBook if its slot has no room."""
    with transaction.atomic():
        current = lock_booking(booking)
        if not current.is_scheduled:
            _check_open(_locked(current.slot))
            withdraw(current, "planned again")
            current.state = BookingState.SCHEDULED
            current.cancelled_at = current.cancelled_by = None
            current.save(update_fields=["state", "cancelled_at", "cancelled_by"])
            if user is not None:
                _record(ActKind.REINSTATED, current, user)
    booking.refresh_from_db()


def change_phone(booking: Booking, msisdn: str) -> None:
    """Give a booking another phone number (E.164 digits)."""
    with transaction.atomic():
        current = lock_booking(booking, msisdn)
        if current.msisdn != msisdn:
            withdraw(current, "phone number changed")
            current.msisdn = msisdn
            current.save(update_fields=["msisdn"])
    booking.msisdn = msisdn


def move_many(
    moves: Sequence[tuple[Booking, Slot]], *, cause: ChangeCause, user: "User | None" = None
) -> None:
    """Move bookings to slots that have room for them. The caller has locked all customers and slots."""
    moves = [(booking, slot) for booking, slot in moves if slot.pk != booking.slot_id]
    withdraw_many([(booking, f"moved to {slot}") for booking, slot in moves])
    changes = SlotChange.objects.bulk_create(
        SlotChange(booking=booking, from_slot=booking.slot, to_slot=slot, cause=cause, user=user)
        for booking, slot in moves
    )
    for change in changes:
        change.booking.slot, change.booking.changed_at = change.to_slot, change.created_at
    Booking.objects.bulk_update([booking for booking, _ in moves], ["slot", "changed_at"])


def change_phones(changes: Sequence[tuple[Booking, str]]) -> None:
    """Give bookings other phone numbers. The caller has locked all customers, also those of the new numbers."""
    changes = [(booking, msisdn) for booking, msisdn in changes if msisdn != booking.msisdn]
    withdraw_many([(booking, "phone number changed") for booking, _ in changes])
    for booking, msisdn in changes:
        booking.msisdn = msisdn
    Booking.objects.bulk_update([booking for booking, _ in changes], ["msisdn"])


def _locked(slot: Slot, *others: Slot) -> Slot:
    """Lock a slot together with others, in primary-key order, and return it as it is now."""
    slots = {
        row.pk: row
        for row in Slot.objects.filter(pk__in=[slot.pk, *(s.pk for s in others)]).locked()
    }
    return slots[slot.pk]


def _check_open(slot: Slot) -> None:
    """Raise CannotBook if the slot cannot take one more booking."""
    if slot.ends_at <= timezone.now():
        raise CannotBook(f"Slot has passed: {slot}.")
    if reason := why_no_room(slot):
        raise CannotBook(reason)


def _record(kind: ActKind, booking: Booking, user: "User") -> None:
    StaffAct.objects.create(
        kind=kind, user=user, msisdn=booking.msisdn, booking=booking, details=str(booking.slot)
    )

"""What staff and imports do to bookings: book, move, cancel, change the phone number.

Each is one transaction that takes the customer's locks first, withdraws the open question and cancels queued texts,
so that the last text a customer gets tells the truth.
"""

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings import options
from bookings.models import Booking, BookingState, ChangeCause, Slot, SlotChange
from bookings.notifications import lock_booking, withdraw

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CannotBook(Exception):  # noqa: N818  # read as a sentence: "cannot book: the slot is full"
    """The schedule does not allow it. The text is a sentence for staff."""


def book(
    *,
    reference: str,
    customer_name: str,
    msisdn: str,
    slot: Slot,
    language: str = "en",
    notes: str = "",
) -> Booking:
    """Store a new delivery. The slot may be unsaved: it is found or made. Raises CannotBook."""
    with transaction.atomic():
        slot = _locked(options.saved(slot))
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
                    f"There is a booking with the reference {reference} already."
                ) from None
            raise


def move(
    booking: Booking,
    slot: Slot,
    *,
    cause: ChangeCause = ChangeCause.STAFF,
    user: "User | None" = None,
) -> SlotChange | None:
    """Move a booking to another slot; None if it is there already. Raises CannotBook."""
    with transaction.atomic():
        current = lock_booking(booking)
        slot = options.saved(slot)
        if slot.pk == current.slot_id:
            return None
        slot = _locked(slot, current.slot)
        _check_open(slot)
        withdraw(current, f"moved to {slot}")
        change = current.move_to(slot, cause, user=user)
    booking.slot = slot
    return change


def cancel(booking: Booking, *, user: "User | None" = None) -> None:
    """Cancel a delivery. Cancelling it twice changes nothing."""
    with transaction.atomic():
        current = lock_booking(booking)
        if current.is_scheduled:
            withdraw(current, "cancelled")
            current.state, current.cancelled_at, current.cancelled_by = (
                BookingState.CANCELLED,
                timezone.now(),
                user,
            )
            current.save(update_fields=["state", "cancelled_at", "cancelled_by"])
    booking.refresh_from_db()


def reinstate(booking: Booking) -> None:
    """Take a cancellation back, if its slot still has room. Raises CannotBook."""
    with transaction.atomic():
        current = lock_booking(booking)
        if not current.is_scheduled:
            _check_open(_locked(current.slot))
            withdraw(current, "planned again")
            current.state, current.cancelled_at, current.cancelled_by = (
                BookingState.SCHEDULED,
                None,
                None,
            )
            current.save(update_fields=["state", "cancelled_at", "cancelled_by"])
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


def _locked(slot: Slot, *others: Slot) -> Slot:
    """The slot as it is now, locked with the others."""
    slots = {
        row.pk: row
        for row in Slot.objects.filter(pk__in=[slot.pk, *(s.pk for s in others)]).locked()
    }
    return slots[slot.pk]


def _check_open(slot: Slot) -> None:
    """Raise CannotBook if it cannot take one more delivery, which is not in it yet."""
    if slot.ends_at <= timezone.now():
        raise CannotBook(f"The slot {slot} is over.")
    if slot.capacity == 0:
        raise CannotBook(f"The slot {slot} is closed.")
    if not slot.has_room():
        raise CannotBook(f"The slot {slot} is full: it holds {slot.capacity}.")

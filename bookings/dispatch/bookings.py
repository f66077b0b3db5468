"""What staff and imports do to bookings: book, move, cancel, change the phone number, and tell the customer.

Each is one transaction that takes the customer's locks first, withdraws the open notification and cancels queued texts,
so that the last text a customer gets tells the truth.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings import outbox
from bookings.language import messages
from bookings.models import (
    ActKind,
    Booking,
    BookingState,
    ChangeCause,
    Kind,
    Notification,
    OutboundMessage,
    Slot,
    SlotChange,
    StaffAct,
    move_booking,
)
from bookings.models.keys import new_key
from bookings.notifications.asking import lock_booking, withdraw, withdraw_many
from bookings.outbox.recipients import find_why_not_texted
from bookings.scheduling import offers

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CannotBook(Exception):
    """The schedule does not allow it. The text is a sentence for staff."""


class CannotTell(Exception):
    """This customer cannot be told by SMS. The text is a sentence for staff."""


class News(enum.StrEnum):
    """What a customer is told of a delivery: the name of its text in language/texts/."""

    MOVED = "told_moved"
    PLANNED = "told_planned"  # it is on, or on again
    CHOSEN = "moved"  # as the customer asked
    KEPT = "kept"  # as the customer asked
    OFF = "told_cancelled"  # the only news of a cancelled one


#: For how long a text about a change is worth sending, at least.
_LIFE = dt.timedelta(hours=24)

#: How the keys of these texts begin. Who was told last that it is off does not know that it is on again.
TOLD, TOLD_CANCELLED = "told", "told_cancelled"
#: What is written down of a call that told the same.
SAID_OFF = "that it is cancelled"


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
        slot = _locked(offers.saved(slot))
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
        slot = offers.saved(slot)
        if slot.pk == current.slot_id:
            return None
        slot = _locked(slot, current.slot)
        _check_open(slot)
        withdraw(current, f"moved to {slot}")
        change = move_booking(current, slot, cause, user=user)
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
            if user is not None:  # kept also when the cancellation is taken back
                _write_down(ActKind.CALLED_OFF, current, user, str(current.slot))
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


def move_many(
    moves: Sequence[tuple[Booking, Slot]], *, cause: ChangeCause, user: "User | None" = None
) -> None:
    """Move bookings to slots that have room for them. The caller holds the locks of all customers and slots."""
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
    """Give bookings other phone numbers. The caller holds the locks of all customers, also of the new numbers."""
    changes = [(booking, msisdn) for booking, msisdn in changes if msisdn != booking.msisdn]
    withdraw_many([(booking, "phone number changed") for booking, _ in changes])
    for booking, msisdn in changes:
        booking.msisdn = msisdn
    Booking.objects.bulk_update([booking for booking, _ in changes], ["msisdn"])


def tell(
    booking: Booking,
    news: News = News.MOVED,
    *,
    user: "User | None" = None,
) -> OutboundMessage:
    """Queue the text that says where a delivery stands now; of a cancelled one, that it is off.

    In one transaction with the change it tells of. Raises CannotTell.
    """
    with transaction.atomic():
        current = lock_booking(booking)
        if reason := find_why_not_texted(current.msisdn):
            raise CannotTell(reason)
        where = messages.where(current.slot, current.language)
        return outbox.queue(
            Kind.TOLD,
            what_is_told(current, where, news),
            key=f"{told_key(current)}{new_key()}",
            msisdn=current.msisdn,
            sender=number_for(current.msisdn),
            booking=current,
            user=user,
            valid_until=max(current.slot.ends_at, timezone.now() + _LIFE),
        )


def told_key(booking: Booking) -> str:
    """How the keys begin of texts that tell what stands now: that it is on, or off."""
    return f"{TOLD if booking.is_scheduled else TOLD_CANCELLED}:"


def said_by_phone(booking: Booking) -> str:
    """What is written down of a call that tells what stands now."""
    return str(booking.slot) if booking.is_scheduled else SAID_OFF


def what_is_told(booking: Booking, where: str, news: News) -> str:
    """The text of `tell`, for a delivery as it stands; `where` is its date, window and place in words."""
    name = news if booking.is_scheduled else News.OFF
    return messages.render(name.value, booking.language, reference=booking.reference, where=where)


def told_by_phone(booking: Booking, user: "User") -> None:
    """Write down that a person has told this customer where the delivery stands, and what that was.

    The caller holds the customer's lock.
    """
    drop_reminders(booking=booking)
    _write_down(ActKind.TOLD_BY_PHONE, booking, user, said_by_phone(booking))


def drop_reminders(**about: Any) -> None:
    """Whom somebody has spoken to, about this booking or at this number, is not silent any more."""
    waiting = OutboundMessage.objects.filter(kind=Kind.REMINDER, **about)
    waiting.cancel("somebody has spoken to the customer")


def _write_down(kind: ActKind, booking: Booking, user: "User", details: str) -> None:
    StaffAct.objects.create(
        kind=kind, user=user, msisdn=booking.msisdn, booking=booking, details=details
    )


def number_for(msisdn: str) -> str:
    """The number of ours that this customer knows: the one that asked last, or else the usual one."""
    asked = Notification.objects.filter(
        msisdn=msisdn, virtual_number__in=settings.VONAGE_NUMBERS
    ).first()
    return asked.virtual_number if asked else settings.VONAGE_NUMBERS[0]


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

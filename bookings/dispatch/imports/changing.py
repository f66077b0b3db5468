"""Changing the bookings of many rows at once: all their customers locked, then a few statements for all of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports.known import Known
from bookings.dispatch.imports.rows import Row, Window
from bookings.models import Booking, ChangeCause, Slot, lock_customer
from bookings.notifications.asking import lock_texts

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def lock_customers(rows: Sequence[Row]) -> None:
    """All at once, in the order that everybody keeps: one after the other could be a deadlock.

    Anew if a phone number changed while we waited for the locks.
    """
    locked: set[str] = set()
    bookings = Booking.objects.filter(reference__in=[row.reference for row in rows])
    while not locked >= (numbers := set(bookings.values_list("msisdn", flat=True))):
        locked = {*numbers, *(row.msisdn for row in rows)}
        lock_customer(*locked)


def carry_out(
    changes: Sequence[Known], slots: Mapping[Window, Slot], *, user: "User | None"
) -> None:
    """Do what the rows say to their bookings. The caller holds all locks, and there is room."""
    if not changes:
        return
    concerned = [each for each in changes if each.news & {"phone", "window"}]
    lock_texts([each.booking for each in concerned], *(each.row.msisdn for each in concerned))
    dispatch.change_phones(
        [(each.booking, each.row.msisdn) for each in changes if "phone" in each.news]
    )
    dispatch.move_many(
        [(each.booking, slots[each.row.window]) for each in changes if "window" in each.news],
        cause=ChangeCause.IMPORT,
        user=user,
    )
    fields: set[str] = set()
    for each in changes:
        plain = each.plain_fields()
        fields |= plain.keys()
        for name, value in plain.items():
            setattr(each.booking, name, value)
    Booking.objects.bulk_update([each.booking for each in changes], sorted(fields))

"""Retention: erases names, phone numbers and texts after a time, and keeps the rows, so that they can be counted.

A phone number is replaced by one that no phone has, the same for the same number, so that a conversation stays
together. Consent is kept with its words and dates, because it forbids the next text.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterator
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from bookings.models import (
    Booking,
    DeliveryReceipt,
    InboundMessage,
    Manifest,
    Notification,
    OutboundMessage,
    SimulatedPhone,
    SlotOption,
    StaffAct,
    Ticket,
)
from bookings.models.fields import as_msisdn
from bookings.models.keys import FORGOTTEN, NOBODY
from bookings.notifications import asking
from bookings.outbox import delivery_receipts
from bookings.scheduling.clock import midnight

#: Younger rows cannot be erased: they may still be answered, or a receipt may come.
LEAST_DAYS = 7

_NUMBERS_AT_ONCE = 200

#: The columns that are erased with the phone number, by table.
_PERSONAL: dict[Any, dict[str, Any]] = {
    Booking: {"customer_name": "", "notes": "", "imported": None},
    Notification: {},
    SlotOption: {"is_held": False},  # two options of a number may not hold one digit
    OutboundMessage: {"text": FORGOTTEN},
    InboundMessage: {"text": "", "whole": "", "matched": "", "raw": {}},
    DeliveryReceipt: {"raw": {}},
    StaffAct: {},
    Ticket: {"reason": FORGOTTEN},
}


def erase_old(days: int, *, dry_run: bool = False) -> dict[str, int]:
    """Erase bookings and messages older than this many days. Returns the number of rows by table; the second time 0.

    Raises ValueError for less than a week.
    """
    if days < LEAST_DAYS:
        raise ValueError(
            f"At least {LEAST_DAYS} days must have passed: younger texts may still be answered."
        )
    while not dry_run and asking.close_past():
        pass  # so that no digit is held for an open notification
    day = timezone.localdate() - dt.timedelta(days=days)
    forgotten = {name: _erase(rows, dry_run=dry_run) for name, rows in _older_than(day)}
    return forgotten | {
        "manifests": _erase_manifests(day, dry_run=dry_run),
        "receipts of nobody": delivery_receipts.drop_orphans(dry_run=dry_run),
        "simulated phones": _drop_phones(dry_run=dry_run),
    }


def replacement_for(msisdn: str) -> str:
    """Return the number that replaces this one: 15 digits, which cannot be traced back without the secret key."""
    number = as_msisdn(msisdn) or msisdn
    digest = hmac.digest(settings.SECRET_KEY.encode(), number.encode(), hashlib.sha256)
    return NOBODY + str(int.from_bytes(digest[:8]) % 10**12).zfill(12)


def _older_than(day: dt.date) -> Iterator[tuple[str, QuerySet[Any]]]:
    """The rows that are old enough, by table: bookings by their day, messages by their own age."""
    moment = midnight(day)
    yield "bookings", Booking.objects.filter(slot__date__lt=day)
    yield "notifications", Notification.objects.filter(booking__slot__date__lt=day)
    yield "options", SlotOption.objects.filter(notification__booking__slot__date__lt=day)
    yield "outbound messages", OutboundMessage.objects.filter(queued_at__lt=moment)
    yield "inbound messages", InboundMessage.objects.filter(received_at__lt=moment)
    yield "delivery receipts", DeliveryReceipt.objects.filter(received_at__lt=moment)
    yield "tickets", Ticket.objects.filter(raised_at__lt=moment)
    yield "activity log", StaffAct.objects.filter(created_at__lt=moment).exclude(msisdn="")


def _drop_phones(*, dry_run: bool) -> int:
    """Delete the simulated phones of customers of whom no row is left."""
    theirs = {"msisdn": OuterRef("msisdn")}
    known = (model.objects.filter(**theirs) for model in (Booking, OutboundMessage, InboundMessage))
    phones = SimulatedPhone.objects.exclude(reduce(or_, map(Exists, known)))
    return phones.count() if dry_run else phones.delete()[0]


def _erase_manifests(day: dt.date, *, dry_run: bool) -> int:
    """Erase the contents of uploaded files. Their rows, with the user, the counts and the date, are kept."""
    old = Manifest.objects.filter(created_at__lt=midnight(day)).exclude(content=b"")
    return old.count() if dry_run else old.update(content=b"", refusals=[])


def _erase(rows: QuerySet[Any], *, dry_run: bool) -> int:
    known = rows.exclude(msisdn__startswith=NOBODY).order_by()
    if dry_run:
        return known.count()
    numbers = iter(known.values_list("msisdn", flat=True).distinct())
    count = 0
    while batch := list(islice(numbers, _NUMBERS_AT_ONCE)):
        with transaction.atomic():
            count += sum(
                rows.filter(msisdn=msisdn).update(
                    msisdn=replacement_for(msisdn), **_PERSONAL[rows.model]
                )
                for msisdn in batch
            )
    return count

"""Customers who have been notified and have not replied yet, each with a phone number of their own."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from tests.processes import VIRTUAL_NUMBER

_WINDOWS = ((9, 11), (11, 13), (13, 15), (15, 17), (17, 19))
_FIRST_DAY, _DAYS = 4, 12  # days from today; each day's second option is the next
_PLACES = ("door", "door", "post_office")  # of the options 1 to 3


@dataclass(frozen=True)
class Customer:
    """A customer's options: for each digit the id of its slot, and the words of an acknowledgement for it."""

    msisdn: str
    reference: str
    slots: dict[int, int]
    words: dict[int, str]


def create_customers(count: int) -> list[Customer]:
    """Create so many customers, each with one booking and one open notification that has been handed over."""
    from bookings.models import Booking

    offers = list(islice(cycle(_offers()), count))
    bookings = Booking.objects.bulk_create(
        Booking(reference=f"P-{n:06}", msisdn=f"4477{n:08}", slot=offer[0])
        for n, offer in enumerate(offers, 1)
    )
    _notify(bookings, offers)
    return [
        Customer(
            msisdn=booking.msisdn,
            reference=booking.reference,
            slots={digit: slot.pk for digit, slot in enumerate(offer, 1)},
            words={digit: _words(slot) for digit, slot in enumerate(offer, 1)},
        )
        for booking, offer in zip(bookings, offers, strict=True)
    ]


def _notify(bookings: list[Any], offers: list[list[Any]]) -> None:
    from bookings.models import Notification, SlotOption

    now = dt.datetime.now(dt.UTC)
    notifications = Notification.objects.bulk_create(
        Notification(
            booking=booking,
            msisdn=booking.msisdn,
            virtual_number=VIRTUAL_NUMBER,
            slot=booking.slot,
            closes_at=booking.slot.cutoff_at,
            handed_over_at=now,
        )
        for booking in bookings
    )
    SlotOption.objects.bulk_create(
        SlotOption(
            notification=notification,
            msisdn=notification.msisdn,
            digit=digit,
            words=_words(slot),
            slot=slot,
        )
        for notification, offer in zip(notifications, offers, strict=True)
        for digit, slot in enumerate(offer, 1)
    )


def _offers() -> Iterator[list]:
    """Yield the slots of options 1 to 3 for each day and window: as booked, the next day, the post office."""
    from bookings.models import Slot

    today = dt.datetime.now(dt.UTC).date()
    for start, end in _WINDOWS:
        window: dict[str, Any] = {"window_start": dt.time(start), "window_end": dt.time(end)}
        for day in range(_FIRST_DAY, _FIRST_DAY + _DAYS):
            yield [
                Slot.objects.get_or_create(
                    date=today + dt.timedelta(days=day + (digit == 2)), place=place, **window
                )[0]
                for digit, place in enumerate(_PLACES, 1)
            ]


def _words(slot) -> str:
    """Return the slot as an acknowledgement names it, without the product's code."""
    where = "the post office, " if slot.place == "post_office" else ""
    window = f"{slot.window_start:%H:%M}-{slot.window_end:%H:%M}"
    return f"{where}{slot.date:%a} {slot.date.day} {slot.date:%b} {window}"

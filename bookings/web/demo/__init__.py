"""The parts that only the demo has: its logins, its first booking, the card *Try it* and a file to import."""

import datetime as dt

from django.conf import settings

from bookings.models import Booking

#: How the references of the demo's bookings begin.
PREFIX = "DEMO-"
#: The customer of the first booking, which can still be changed: the one to try.
FIRST_CUSTOMER = "Ana Torres"
#: It is replaced when less than this is left to change it.
STILL_GOOD = dt.timedelta(hours=1)


def is_demo() -> bool:
    """Return True if this process may be a demo: nothing it sends reaches a real phone, and nobody relies on it."""
    return bool(settings.DEBUG and settings.SMS_GATEWAY == "simulator")


def first_booking() -> Booking | None:
    """Return the newest booking of the first customer, or None if no demo data was loaded."""
    theirs = Booking.objects.scheduled().filter(
        reference__startswith=PREFIX, customer_name=FIRST_CUSTOMER
    )
    return theirs.select_related("slot").order_by("-pk").first()

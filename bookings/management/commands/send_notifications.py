"""Notify the customers of a day, each once."""

import datetime as dt
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from bookings.language.messages import mask
from bookings.models import Booking, Notification, NotificationState
from bookings.notifications.asking import CannotNotify, notify
from bookings.notifications.drafts import draft_notification


class Command(BaseCommand):
    help = (
        "Asks the customers of tomorrow's deliveries, or of another day's, by SMS. Nobody is asked"
        " twice about a delivery, unless the notification was withdrawn."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--date", type=date, help="such as 2026-11-24, not tomorrow")
        parser.add_argument("--reference", help="this booking alone, whatever its day")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="print the texts; a second parcel of a customer gets other digits when sent",
        )

    def handle(self, **options: Any) -> None:
        bookings = self.bookings(options["date"], options["reference"])
        ask = self.show if options["dry_run"] else self.ask
        asked = sum(ask(booking, last) for booking, last in with_last_notification(bookings))
        self.stdout.write(f"{asked} {'would be ' * options['dry_run']}asked")

    def bookings(self, day: dt.date | None, reference: str | None) -> list[Booking]:
        bookings = Booking.objects.select_related("slot")
        if reference is None:
            tomorrow = timezone.localdate() + dt.timedelta(days=1)
            return list(bookings.scheduled().on(day or tomorrow))
        found = list(bookings.filter(reference=reference))
        if not found:
            raise CommandError(f"There is no booking with the reference {reference}.")
        return [booking for booking in found if day in {None, booking.slot.date}]

    def ask(self, booking: Booking, last: Notification | None) -> bool:
        # The key lets only one of two runs at the same moment ask.
        key = f"asked:{booking.pk}:{last.pk if last else 0}"
        try:
            check_not_asked(last)
            notify(booking, idempotency_key=key)
        except CannotNotify as error:
            return self.leave_out(booking, str(error))
        except IntegrityError:
            return self.leave_out(booking, "Asked at this very moment.")
        self.stdout.write(f"{booking} asked at {mask(booking.msisdn)}")
        return True

    def show(self, booking: Booking, last: Notification | None) -> bool:
        try:
            check_not_asked(last)
            text = draft_notification(booking).text
        except CannotNotify as error:
            return self.leave_out(booking, str(error))
        self.stdout.write(f"{booking} would be asked at {mask(booking.msisdn)}: {text}")
        return True

    def leave_out(self, booking: Booking, reason: str) -> bool:
        self.stdout.write(f"{booking} not asked: {reason}")
        return False


def date(text: str) -> dt.date:
    """Named so that argparse complains of an invalid date."""
    return dt.date.fromisoformat(text)


def check_not_asked(last: Notification | None) -> None:
    """Raise CannotNotify if the last notification about a booking was not withdrawn."""
    if last is not None and last.state != NotificationState.WITHDRAWN:
        raise CannotNotify("Asked already.")


def with_last_notification(bookings: list[Booking]) -> list[tuple[Booking, Notification | None]]:
    later = Notification.objects.filter(booking=OuterRef("booking")).order_by("-pk")
    last = Notification.objects.filter(booking__in=bookings, pk=Subquery(later.values("pk")[:1]))
    by_booking = {notification.booking_id: notification for notification in last}
    return [(booking, by_booking.get(booking.pk)) for booking in bookings]

"""Slots, and the bookings in them."""

import datetime as dt

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format

from bookings.models.fields import MsisdnField, check_reference, is_one_of, msisdn_is_e164


class Place(models.TextChoices):
    DOOR = "door", "door"
    POST_OFFICE = "post_office", "post office"


class BookingState(models.TextChoices):
    SCHEDULED = "scheduled", "scheduled"
    CANCELLED = "cancelled", "cancelled"


#: Dates outside this range could overflow when days are added.
EARLIEST, LATEST = dt.date(2000, 1, 1), dt.date(2199, 12, 31)
#: A day as staff see it: `Tue 1 Dec 2026`.
DAY_FORMAT = "D j M Y"


def _utc(wall_clock: dt.datetime) -> dt.datetime:
    """Return a local time as a moment in UTC. Why UTC: local times compare wrongly around a clock change."""
    return timezone.make_aware(wall_clock).astimezone(dt.UTC)


class SlotQuerySet(models.QuerySet["Slot"]):
    def locked(self) -> "SlotQuerySet":
        """Lock these slots in the order of their ids until the transaction ends."""
        # The key stays as it is: a notification is committed while somebody else holds a slot that it offers.
        return self.order_by("pk").select_for_update(of=("self",), no_key=True)

    def from_day(self, day: dt.date) -> "SlotQuerySet":
        return self.filter(date__gte=day).order_by("date", "window_start", "pk")


class Slot(models.Model):
    """A date, a time window, a place and a capacity. Dates and times are local."""

    date = models.DateField(db_index=True)
    window_start = models.TimeField()
    window_end = models.TimeField()
    place = models.CharField(max_length=16, choices=Place, default=Place.DOOR)
    capacity = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many deliveries fit. Empty: no limit. 0: closed."
    )

    objects = SlotQuerySet.as_manager()

    class Meta:
        ordering = ["date", "window_start", "place"]
        constraints = [
            models.UniqueConstraint(
                fields=["place", "date", "window_start", "window_end"],
                name="slot_is_unique",
                violation_error_message="This slot already exists.",
            ),
            models.CheckConstraint(
                name="slot_ends_after_start",
                condition=Q(window_end__gt=F("window_start")),
                violation_error_message="The window must end after it starts.",
            ),
            is_one_of("place", Place, name="slot_place_is_known"),
            models.CheckConstraint(
                name="slot_date_is_possible",
                condition=Q(date__range=(EARLIEST, LATEST)),
                violation_error_message="This year is out of range.",
            ),
        ]

    def __str__(self) -> str:
        words = f"{date_format(self.date, DAY_FORMAT)} {self.window}"
        return words if self.place == Place.DOOR else f"{words}, post office"

    @property
    def window(self) -> str:
        return f"{self.window_start:%H:%M}-{self.window_end:%H:%M}"

    @property
    def starts_at(self) -> dt.datetime:
        return _utc(dt.datetime.combine(self.date, self.window_start))

    @property
    def ends_at(self) -> dt.datetime:
        return _utc(dt.datetime.combine(self.date, self.window_end))

    @property
    def cutoff_at(self) -> dt.datetime:
        """The moment from which it can no longer be chosen or left: some wall-clock hours before it starts."""
        start = dt.datetime.combine(self.date, self.window_start)
        return _utc(start - dt.timedelta(hours=settings.CHANGE_CUTOFF_HOURS))


class BookingQuerySet(models.QuerySet["Booking"]):
    def scheduled(self) -> "BookingQuerySet":
        return self.filter(state=BookingState.SCHEDULED)

    def on(self, day: dt.date) -> "BookingQuerySet":
        return self.filter(slot__date=day)


class Booking(models.Model):
    """One delivery to one customer."""

    reference = models.CharField(
        max_length=40,
        unique=True,
        validators=[check_reference],
        help_text="Printed in every text about this delivery.",
    )
    customer_name = models.CharField(max_length=120, blank=True)
    msisdn = MsisdnField("phone number", db_index=True)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="bookings")
    language = models.CharField(max_length=8, default="en")
    notes = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=BookingState, default=BookingState.SCHEDULED)
    cancelled_at = models.DateTimeField(null=True, blank=True, editable=False)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    imported = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Content of its row at the last import.",
    )
    changed_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When it was last moved; for a move by reply, when the reply arrived.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = BookingQuerySet.as_manager()

    class Meta:
        ordering = ["slot__date", "slot__window_start", "reference"]
        permissions = [
            ("notify_booking", "Can text customers about their deliveries"),
            ("reveal_number", "Can view a customer's full phone number (recorded)"),
            ("export_history", "Can export lists (recorded)"),
        ]
        constraints = [
            msisdn_is_e164("booking_msisdn_is_e164"),
            is_one_of("state", BookingState, name="booking_state_is_known"),
            models.CheckConstraint(name="booking_has_reference", condition=~Q(reference="")),
            models.CheckConstraint(
                name="booking_scheduled_is_not_cancelled",
                condition=Q(state=BookingState.CANCELLED) | Q(cancelled_at=None, cancelled_by=None),
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def is_scheduled(self) -> bool:
        return self.state == BookingState.SCHEDULED

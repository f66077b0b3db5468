"""The company's week: which slots the coming days get, and on which days nobody delivers."""

from django.db import models
from django.db.models import F, Q
from django.utils.formats import date_format

from bookings.models.fields import is_one_of
from bookings.models.schedule import DAY_FORMAT, Place


class Weekday(models.IntegerChoices):
    MONDAY = 0, "Monday"
    TUESDAY = 1, "Tuesday"
    WEDNESDAY = 2, "Wednesday"
    THURSDAY = 3, "Thursday"
    FRIDAY = 4, "Friday"
    SATURDAY = 5, "Saturday"
    SUNDAY = 6, "Sunday"


class WeeklySlot(models.Model):
    """A window that every such weekday has. Slots are made from it for the coming weeks."""

    weekday = models.PositiveSmallIntegerField(choices=Weekday)
    window_start = models.TimeField()
    window_end = models.TimeField()
    place = models.CharField(max_length=16, choices=Place, default=Place.DOOR)
    capacity = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many deliveries fit. Empty: no limit."
    )

    class Meta:
        ordering = ["weekday", "window_start", "place"]
        constraints = [
            models.UniqueConstraint(
                fields=["weekday", "window_start", "window_end", "place"],
                name="weekly_slot_is_unique",
                violation_error_message="This window already exists.",
            ),
            models.CheckConstraint(
                name="weekly_slot_weekday_is_known", condition=Q(weekday__lte=6)
            ),
            models.CheckConstraint(
                name="weekly_slot_ends_after_start",
                condition=Q(window_end__gt=F("window_start")),
                violation_error_message="The window must end after it starts.",
            ),
            is_one_of("place", Place, name="weekly_slot_place_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.window_start:%H:%M}-{self.window_end:%H:%M}"


class ClosedDay(models.Model):
    """A day on which nobody delivers: no slots are made for it."""

    date = models.DateField(unique=True)
    reason = models.CharField(max_length=80, blank=True)

    class Meta:
        ordering = ["date"]

    def __str__(self) -> str:
        return date_format(self.date, DAY_FORMAT)

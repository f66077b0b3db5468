"""What all sending processes share: the circuit, the pace, the day's spending, and who of them is alive."""

import datetime as dt

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Circuit(models.Model):
    """One row. Open (`opened_at` is set) = sending is paused because the gateway refuses us as a whole."""

    opened_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    probe_at = models.DateTimeField(null=True, blank=True, help_text="Next try with one message.")

    class Meta:
        verbose_name = verbose_name_plural = "sending"
        constraints = [models.CheckConstraint(name="circuit_is_one_row", condition=Q(pk=1))]

    def __str__(self) -> str:
        return f"open: {self.reason}" if self.opened_at else "closed"

    @classmethod
    def current(cls) -> "Circuit":
        """The one row; closed when nobody has opened it yet."""
        return cls.objects.filter(pk=1).first() or cls(pk=1)


class Pace(models.Model):
    """When the next SMS may leave: for the whole account (`sender` is empty), and for one of our numbers."""

    sender = models.CharField(max_length=15, unique=True, blank=True)
    next_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "pace"

    def __str__(self) -> str:
        return f"{self.sender or 'all'} from {self.next_at:%H:%M:%S}"


class Spending(models.Model):
    """What the texts of one day, in the company's zone, cost: in the account's currency.

    It is counted up before a call and down again if nobody took the text, so that the cap of a day holds with any
    number of workers.
    """

    day = models.DateField(unique=True)
    amount = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="When the daily cap first stopped a message."
    )
    balance = models.DecimalField(
        max_digits=14,
        decimal_places=8,
        null=True,
        blank=True,
        help_text="Account balance, as last reported by the gateway that day.",
    )

    class Meta:
        ordering = ["-day"]
        verbose_name_plural = "spending"
        constraints = [
            models.CheckConstraint(name="spending_is_not_negative", condition=Q(amount__gte=0))
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.amount}"

    @classmethod
    def of(cls, day: dt.date) -> "Spending":
        """That day's row; an unsaved one with nothing spent if there is none yet."""
        return cls.objects.filter(day=day).first() or cls(day=day)


class Sender(models.Model):
    """A sending process, and when it was last at work. Database time."""

    name = models.CharField(max_length=80, unique=True, help_text="Host and process id.")
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return self.name


class SimulatedPhone(models.Model):
    """How a customer's phone on the simulated network behaves."""

    msisdn = models.CharField(max_length=15, unique=True)
    stays_silent = models.BooleanField(default=False, help_text="No delivery receipts")
    fails = models.BooleanField(default=False, help_text="Delivery fails")
    sends_twice = models.BooleanField(default=False, help_text="Replies arrive twice")
    replies_late = models.BooleanField(default=False, help_text="Replies arrive 20 seconds late")
    splits = models.BooleanField(
        default=False, help_text="Replies arrive as several parts, out of order"
    )

    def __str__(self) -> str:
        return self.msisdn

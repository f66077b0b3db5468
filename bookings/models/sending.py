"""What all sending processes share: the circuit, and the pace."""

from django.db import models
from django.db.models import Q


class Circuit(models.Model):
    """One row. Open (`opened_at` is set) = sending is paused because the gateway refuses us as a whole."""

    opened_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    probe_at = models.DateTimeField(
        null=True, blank=True, help_text="When one message is tried again."
    )

    class Meta:
        verbose_name_plural = "circuit"
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


class SimulatedPhone(models.Model):
    """How a customer's phone on the simulated network behaves."""

    msisdn = models.CharField(max_length=15, unique=True)
    stays_silent = models.BooleanField(default=False, help_text="No receipts come from it.")
    fails = models.BooleanField(default=False, help_text="Nothing can be delivered to it.")
    sends_twice = models.BooleanField(default=False, help_text="Its texts reach the webhook twice.")
    replies_late = models.BooleanField(
        default=False, help_text="Its texts reach the webhook 20 seconds late."
    )

    def __str__(self) -> str:
        return self.msisdn

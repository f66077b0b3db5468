"""The acts of staff that no other table records."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from bookings.models.fields import is_one_of
from bookings.models.schedule import Booking, BookingState


class ActKind(models.TextChoices):
    REVEALED = "revealed", "viewed a phone number"
    EXPORTED = "exported", "exported a list"
    CLOSED_CIRCUIT = "closed_circuit", "resumed sending"
    RELEASED = "released", "released messages on hold"
    DROPPED = "dropped", "cancelled messages on hold"
    REPLAYED = "replayed", "processed a message again"
    TOOK = "took", "took a ticket"
    APPLIED = "applied", "chose an option for the customer"
    ANSWERED = "answered", "wrote to the customer"
    TOLD_BY_PHONE = "told_by_phone", "told the customer by phone"
    SET_ASIDE = "set_aside", "closed a ticket: no action needed"
    CONSENT = "consent", "recorded an opt-out or opt-in"
    IMPORTED = "imported", "imported a manifest"
    ASKED_MANY = "asked_many", "sent a batch"
    PAUSED = "paused", "paused a batch"
    RESUMED = "resumed", "resumed a batch"
    CANCELLED = "cancelled", "cancelled a batch"
    CALLED_OFF = "called_off", "cancelled a delivery"
    REINSTATED = "reinstated", "took back a cancellation"


class StaffAct(models.Model):
    """One act of a member of staff. Never changed, never deleted."""

    kind = models.CharField(max_length=20, choices=ActKind)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    msisdn = models.CharField("phone number", max_length=40, blank=True, help_text="Shown masked.")
    booking = models.ForeignKey(
        Booking, on_delete=models.PROTECT, null=True, blank=True, related_name="staff_acts"
    )
    told_state = models.CharField(
        max_length=16,
        choices=BookingState,
        blank=True,
        help_text="The state of the delivery that the customer was told by phone.",
    )
    details = models.CharField(max_length=500, blank=True, help_text="Page, rows and count.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["msisdn", "-id"], name="staff_act_by_number"),
            models.Index(fields=["-created_at"], name="staff_act_by_time"),
        ]
        constraints = [is_one_of("kind", ActKind, name="staff_act_kind_is_known")]

    def __str__(self) -> str:
        return f"{self.user} {self.get_kind_display()}"

"""Every move of a booking from one slot to another, with its cause."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from bookings.models.fields import is_one_of
from bookings.models.inbound import InboundMessage
from bookings.models.schedule import Booking, Slot

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ChangeCause(models.TextChoices):
    REPLY = "reply", "customer"
    STAFF = "staff", "dispatch"
    IMPORT = "import", "import"


class SlotChange(models.Model):
    """One move of a booking, with its cause. A row is never changed and never deleted."""

    booking = models.ForeignKey(Booking, on_delete=models.PROTECT, related_name="slot_changes")
    from_slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+")
    to_slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+")
    cause = models.CharField(max_length=16, choices=ChangeCause)
    inbound = models.ForeignKey(
        InboundMessage,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="slot_changes",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["pk"]
        constraints = [
            is_one_of("cause", ChangeCause, name="slot_change_cause_is_known"),
            models.CheckConstraint(name="slot_change_moves", condition=~Q(from_slot=F("to_slot"))),
            models.CheckConstraint(
                name="slot_change_by_reply_has_reply",
                condition=~Q(cause=ChangeCause.REPLY) | Q(inbound__isnull=False),
            ),
            models.UniqueConstraint(fields=["inbound"], name="one_slot_change_per_reply"),
        ]

    def __str__(self) -> str:
        return f"{self.from_slot} to {self.to_slot}"


def move_booking(
    booking: Booking,
    slot: Slot,
    cause: ChangeCause,
    *,
    inbound: InboundMessage | None = None,
    user: "User | None" = None,
) -> SlotChange:
    """Move a booking and record the cause. The caller holds the locks and has made sure that there is room."""
    change = SlotChange.objects.create(
        booking=booking,
        from_slot=booking.slot,
        to_slot=slot,
        cause=cause,
        inbound=inbound,
        user=user,
    )
    since = inbound.received_at if inbound else change.created_at
    booking.slot, booking.changed_at = slot, max(since, booking.changed_at or since)
    booking.save(update_fields=["slot", "changed_at"])
    return change

"""Tickets: one row for each thing that a person must decide, because our software must not or cannot."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from bookings.models.fields import is_one_of
from bookings.models.inbound import InboundMessage
from bookings.models.outbound import OutboundMessage
from bookings.models.schedule import Booking


class TicketKind(models.TextChoices):
    UNCLEAR = "unclear", "unclear reply"
    LATE = "late", "late reply"
    STRANGER = "stranger", "unknown sender"
    OPTED_OUT = "opted_out", "opted out, but replied"
    WANTS_OUT = "wants_out", "possible opt-out"
    FULL = "full", "nothing left to offer"
    SUSPICIOUS = "suspicious", "suspicious"
    BROKEN = "broken", "software error"
    NOT_SENT = "not_sent", "not delivered"
    UNKNOWN = "unknown", "outcome unknown"
    NO_RECEIPT = "no_receipt", "no receipt"


class Settlement(models.TextChoices):
    APPLIED = "applied", "option chosen by staff"
    ANSWERED = "answered", "answered by SMS"
    TOLD_BY_PHONE = "told_by_phone", "told by phone"
    NOT_FOR_US = "not_for_us", "no action needed"
    OVERTAKEN = "overtaken", "no longer needed"


class TicketQuerySet(models.QuerySet["Ticket"]):
    def waiting(self) -> "TicketQuerySet":
        return self.filter(settled_at=None)

    def locked(self) -> "TicketQuerySet":
        return self.order_by("pk").select_for_update(of=("self",))


class Ticket(models.Model):
    """One thing that needs a person, its owner, and how it was settled."""

    kind = models.CharField(max_length=20, choices=TicketKind)
    reason = models.CharField(max_length=200, help_text="A sentence for staff.")
    msisdn = models.CharField(
        "number", max_length=40, help_text="As received: usually E.164 digits."
    )
    booking = models.ForeignKey(
        Booking, on_delete=models.PROTECT, null=True, blank=True, related_name="tickets"
    )
    inbound = models.OneToOneField(
        InboundMessage, on_delete=models.PROTECT, null=True, blank=True, related_name="ticket"
    )
    outbound = models.OneToOneField(
        OutboundMessage, on_delete=models.PROTECT, null=True, blank=True, related_name="ticket"
    )
    raised_at = models.DateTimeField(default=timezone.now, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    taken_at = models.DateTimeField(null=True, blank=True)
    settlement = models.CharField(max_length=20, choices=Settlement, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects = TicketQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name = "ticket"
        verbose_name_plural = "tickets"
        indexes = [
            models.Index(fields=["raised_at"], name="ticket_waits", condition=Q(settled_at=None)),
            models.Index(fields=["msisdn", "-id"], name="ticket_by_customer"),
        ]
        constraints = [
            is_one_of("kind", TicketKind, name="ticket_kind_is_known"),
            models.CheckConstraint(
                name="ticket_settlement_is_known",
                condition=Q(settlement__in=["", *Settlement.values]),
            ),
            models.CheckConstraint(
                name="ticket_settled_says_how",
                condition=Q(settlement="", settled_at__isnull=True)
                | (~Q(settlement="") & Q(settled_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="ticket_is_about_one_text",
                condition=Q(inbound__isnull=False, outbound__isnull=True)
                | Q(inbound__isnull=True, outbound__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.pk})"

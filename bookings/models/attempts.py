"""Each try to hand an SMS to the gateway, its parts, and what the gateway said of them later."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from bookings.gateways import Receipt, Verdict
from bookings.models import message_states
from bookings.models.fields import is_one_of
from bookings.models.keys import new_key
from bookings.models.message_states import MessageState
from bookings.models.outbound import OutboundMessage


class SendAttempt(models.Model):
    """One try to hand an outbound message to the gateway, and what came back."""

    message = models.ForeignKey(OutboundMessage, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    client_ref = models.CharField(max_length=40, unique=True)
    token = models.CharField(max_length=32)
    call_started_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(
        "result",
        max_length=16,
        blank=True,
        choices=[(verdict.value, verdict.value) for verdict in Verdict],
    )
    code = models.CharField(max_length=40, blank=True, help_text="The gateway's status or error.")
    reason = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=16, choices=MessageState, default=MessageState.SENDING)
    cost = models.DecimalField(
        max_digits=12,
        decimal_places=8,
        default=0,
        help_text="Cost in the account's currency: our estimate, then the gateway's price.",
    )
    spent_on = models.DateField(
        null=True,
        blank=True,
        help_text="The day, in the company's time zone, that the cost belongs to.",
    )
    country = models.CharField(
        max_length=3,  # satellite phones are in 001
        blank=True,
        help_text="Country code, kept when the number is forgotten.",
    )
    counted_parts = models.PositiveSmallIntegerField(
        default=0, help_text="Parts that the cost is for."
    )
    unpriced_parts = models.PositiveSmallIntegerField(
        default=0, help_text="Parts without a price from the gateway."
    )

    class Meta:
        ordering = ["message", "number"]
        indexes = [models.Index(fields=["call_started_at"], name="attempt_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["message", "number"], name="attempt_number_once"),
            models.CheckConstraint(name="attempt_has_client_ref", condition=~Q(client_ref="")),
            is_one_of("state", MessageState, name="attempt_state_is_known"),
        ]

    def __str__(self) -> str:
        return self.client_ref

    def update_state(self) -> MessageState:
        """Set the state that the gateway's answer and the receipts give, and return it."""
        state = message_states.attempt_state(
            self.verdict,
            list(self.parts.values_list("gateway_message_id", flat=True)),
            list(self.receipts.values_list("gateway_message_id", "status")),
        )
        self.set_state(state)
        return state

    def set_state(self, state: MessageState) -> None:
        """any -> the state that the gateway's answer and the receipts give. The message is locked."""
        if state != self.state:
            self.state = state
            self.save(update_fields=["state"])


class SentPart(models.Model):
    """One part of an attempt that the gateway took."""

    attempt = models.ForeignKey(SendAttempt, on_delete=models.PROTECT, related_name="parts")
    gateway_message_id = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=12, decimal_places=8, null=True, blank=True)
    network = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.gateway_message_id


class DeliveryReceiptQuerySet(models.QuerySet["DeliveryReceipt"]):
    def store(self, receipt: Receipt) -> "DeliveryReceipt | None":
        """Keep what came. None if the same words about the same part are here already."""
        row = DeliveryReceipt(
            gateway_message_id=receipt.gateway_message_id,
            client_ref=receipt.client_ref,
            msisdn=receipt.msisdn,
            status=receipt.status,
            err_code=receipt.err_code,
            price=receipt.price,
            network_code=receipt.network_code,
            scts=receipt.scts,
            sent_at=receipt.sent_at,
            raw=receipt.raw,
        )
        self.bulk_create([row], ignore_conflicts=True)
        stored = self.get(
            gateway_message_id=row.gateway_message_id,
            client_ref=row.client_ref,
            status=row.status,
            err_code=row.err_code,
            scts=row.scts,
        )
        return stored if stored.key == row.key else None

    def parked(self) -> "DeliveryReceiptQuerySet":
        """Those that match nothing we have sent, so far."""
        return self.filter(attempt=None)


class DeliveryReceipt(models.Model):
    """The gateway's word on a part of an outbound message, stored whatever it says."""

    key = models.CharField(max_length=24, unique=True, editable=False, default=new_key)
    attempt = models.ForeignKey(
        SendAttempt, on_delete=models.PROTECT, null=True, blank=True, related_name="receipts"
    )
    gateway_message_id = models.CharField(max_length=100, blank=True)
    client_ref = models.CharField(max_length=100, blank=True)
    msisdn = models.CharField("customer", max_length=40, blank=True)
    status = models.CharField(max_length=40)
    err_code = models.CharField("error code", max_length=10, blank=True)
    price = models.CharField(max_length=20, blank=True)
    network_code = models.CharField(max_length=16, blank=True)
    scts = models.CharField("carrier's time", max_length=20, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    raw = models.JSONField(default=dict, blank=True)

    objects = DeliveryReceiptQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["gateway_message_id"], name="receipt_parked", condition=Q(attempt=None)
            ),
            models.Index(fields=["-received_at"], name="receipt_by_time"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["gateway_message_id", "client_ref", "status", "err_code", "scts"],
                name="receipt_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.gateway_message_id} {self.status}"

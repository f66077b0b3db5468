"""Every SMS that came in, how it was read, and its outcome."""

import datetime as dt

from django.db import models
from django.db.models import Q
from django.utils import timezone

from bookings.gateways import InboundSMS
from bookings.models.keys import new_key
from bookings.models.notifications import Chose, Notification, SlotOption
from bookings.models.schedule import Booking


class Outcome(models.TextChoices):
    """What a text came to, by the rule of replies."""

    MOVED = "moved", "moved"
    KEPT = "kept", "kept"
    ALREADY = "already", "already chosen"
    FULL = "full", "slot full"
    TOO_LATE = "too_late", "too late"
    CLOSED = "closed", "notification closed"
    NOT_UNDERSTOOD = "not_understood", "not understood"
    THANKS = "thanks", "thanks"
    CANCEL_ASKED = "cancel_asked", "asked to cancel"
    OPTED_OUT = "opted_out", "opted out"
    OPTED_IN = "opted_in", "opted in"
    HELP = "help", "help"
    NO_QUESTION = "no_question", "no open notification"
    UNKNOWN_SENDER = "unknown_sender", "unknown sender"
    NOT_OURS = "not_ours", "not our number"
    PART = "part", "part of a long message"
    ERROR = "error", "error"


#: The reference of a long text means the same text for this time: phones count to 255 and begin again.
SAME_TEXT_FOR = dt.timedelta(minutes=30)

#: Outcomes of a valid choice.
CHOSEN = (Outcome.MOVED, Outcome.KEPT, Outcome.ALREADY)


class InboundMessageQuerySet(models.QuerySet["InboundMessage"]):
    def store(self, sms: InboundSMS) -> "InboundMessage | None":
        """Store what came. Return None if the gateway delivered this message before."""
        part = sms.part
        message = InboundMessage(
            gateway_message_id=sms.gateway_message_id,
            msisdn=sms.msisdn,
            virtual_number=sms.virtual_number,
            text=sms.text,
            type=sms.type,
            sent_at=sms.sent_at,
            part_ref=part.ref if part else "",
            part_number=part.number if part else None,
            part_total=part.total if part else None,
            raw=sms.raw,
        )
        # One statement decides who is first, so two copies at the same instant cannot both be.
        self.bulk_create([message], ignore_conflicts=True)
        stored = self.get(gateway_message_id=sms.gateway_message_id)
        return stored if stored.key == message.key else None

    def of_same_text(
        self, piece: "InboundMessage", within: dt.timedelta
    ) -> "InboundMessageQuerySet":
        """Select the other parts of the long text of a part, received within this time of it."""
        # Both ways: of two parts at the same instant the later one may have been kept first.
        received = (piece.received_at - within, piece.received_at + within)
        return self.filter(
            msisdn=piece.msisdn,
            virtual_number=piece.virtual_number,
            part_ref=piece.part_ref,
            part_total=piece.part_total,
            received_at__range=received,
        ).exclude(pk=piece.pk)


class InboundMessage(models.Model):
    """An SMS that a customer sent, how it was read, and its outcome."""

    key = models.CharField(max_length=24, unique=True, editable=False, default=new_key)
    gateway_message_id = models.CharField(max_length=100, unique=True, default=new_key)
    msisdn = models.CharField("from", max_length=40, help_text="As received: usually E.164 digits.")
    virtual_number = models.CharField("to", max_length=40)
    text = models.TextField(blank=True)
    type = models.CharField(max_length=16, default="text")
    sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When the gateway sent it to us."
    )
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    part_ref = models.CharField(max_length=40, blank=True)
    part_number = models.PositiveSmallIntegerField(null=True, blank=True)
    part_total = models.PositiveSmallIntegerField(null=True, blank=True)
    whole = models.TextField(
        blank=True, help_text="The long message that this last part completed."
    )
    joined_in = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="pieces",
        help_text="The part that completed this long message.",
    )
    reading = models.CharField(max_length=20, blank=True, help_text="Meaning of the message.")
    rule = models.CharField(max_length=60, blank=True, help_text="The rule that read it.")
    matched = models.CharField(
        max_length=160, blank=True, help_text="The words that the rule matched."
    )
    outcome = models.CharField(max_length=20, choices=Outcome, blank=True)
    booking = models.ForeignKey(
        Booking, on_delete=models.PROTECT, null=True, blank=True, related_name="inbound_messages"
    )
    notification = models.ForeignKey(
        Notification,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="inbound_messages",
    )
    option = models.ForeignKey(
        SlotOption, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    chose = models.CharField(
        max_length=16, choices=Chose, blank=True, help_text="Kind of option chosen."
    )
    is_incomplete = models.BooleanField(
        default=False,
        help_text="This part's text did not become whole in time: a person sees to it.",
    )
    raw = models.JSONField(default=dict, blank=True)

    objects = InboundMessageQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["msisdn", "-id"], name="inbound_by_customer"),
            # With what was chosen, so that a week of them is counted from the index alone.
            models.Index(fields=["-received_at", "chose"], name="inbound_by_time"),
            models.Index(fields=["outcome"], name="inbound_by_outcome"),
            models.Index(
                fields=["received_at"],
                name="inbound_part_waits",
                condition=Q(outcome=Outcome.PART, joined_in=None, is_incomplete=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="inbound_outcome_is_known", condition=Q(outcome__in=["", *Outcome.values])
            ),
            models.CheckConstraint(
                name="inbound_has_message_id", condition=~Q(gateway_message_id="")
            ),
        ]

    def __str__(self) -> str:
        # No text of the customer's: this stands in titles, where control characters would do harm.
        return f"SMS {self.pk} from a customer"

    @property
    def said(self) -> str:
        """The customer's words: the whole text if this part completed it."""
        return self.whole or self.text

    @property
    def attention(self) -> str:
        """The reason why a person must look at it or had to, from its ticket; "" without a ticket."""
        ticket = getattr(self, "ticket", None)
        return ticket.reason if ticket else ""

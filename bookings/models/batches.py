"""Many customers asked in one step: which bookings, how far it has come, and who was left out and why."""

import datetime as dt

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from bookings.models.fields import is_one_of
from bookings.models.message_states import MessageState
from bookings.models.notifications import Notification, NotificationState
from bookings.models.outbound import OutboundMessage
from bookings.models.schedule import Booking


class BatchState(models.TextChoices):
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    CANCELLED = "cancelled", "cancelled"


#: What a batch can still hold back, or is just being handed over.
_IN_HAND = (MessageState.QUEUED, MessageState.SENDING)

#: For so long something of a cancelled batch may still have to be withdrawn.
WINDING_UP = dt.timedelta(days=1)


class BatchQuerySet(models.QuerySet["Batch"]):
    def running(self) -> "BatchQuerySet":
        return self.filter(state=BatchState.RUNNING)

    def just_cancelled(self, now: dt.datetime) -> "BatchQuerySet":
        return self.filter(state=BatchState.CANCELLED, ended_at__gt=now - WINDING_UP)

    def stopped(self, now: dt.datetime) -> "BatchQuerySet":
        """Those whose queued texts stay where they are."""
        return self.filter(state=BatchState.PAUSED) | self.just_cancelled(now)

    def going_on(self) -> "BatchQuerySet":
        """Those with something left to do, paused or not: somebody to ask or to remind, or a text to hand over (again).

        The others are finished, or cancelled.
        """
        return self.exclude(state=BatchState.CANCELLED).filter(_has_something_left())

    def finished(self) -> "BatchQuerySet":
        """Those with nothing left to do. They stay as they are: their customers can still answer."""
        return self.exclude(state=BatchState.CANCELLED).exclude(_has_something_left())


def _has_something_left() -> Q:
    """Looked up from what waits, which is little and has indexes, not batch by batch."""
    entries = BatchEntry.objects.order_by()
    to_remind = entries.filter(
        notification__state=NotificationState.OPEN, notification__remind_at__isnull=False
    )
    going_on = Batch.objects.exclude(state=BatchState.CANCELLED)
    texts = OutboundMessage.objects.order_by().of_batches(going_on)
    going_again = texts.going_again(timezone.now())
    of_text = "notification__batch_entry__batch"
    return (
        Q(pk__in=entries.waiting().values("batch"))
        | Q(pk__in=to_remind.values("batch"))
        | Q(pk__in=texts.filter(state__in=_IN_HAND).values(of_text))
        | Q(pk__in=going_again.values(of_text))
    )


class Batch(models.Model):
    """One step of staff's that asks many customers. Its texts wait in the outbox like any others."""

    name = models.CharField(max_length=80, blank=True, help_text="Source of the bookings.")
    state = models.CharField(max_length=16, choices=BatchState, default=BatchState.RUNNING)
    sender = models.CharField("sent from", max_length=15)
    is_plain = models.BooleanField(
        default=False, help_text="Costly characters are replaced by plain ones."
    )
    with_reminder = models.BooleanField(
        default=False, help_text="One reminder to customers who have not replied."
    )
    nonce = models.CharField(
        max_length=40, unique=True, help_text="Prevents a second submission of the same page."
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it was cancelled.")

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "batches"
        constraints = [is_one_of("state", BatchState, name="batch_state_is_known")]

    def __str__(self) -> str:
        return self.name or f"batch {self.pk}"


class BatchEntryQuerySet(models.QuerySet["BatchEntry"]):
    def waiting(self) -> "BatchEntryQuerySet":
        return self.filter(settled_at=None)

    def to_ask(self) -> "BatchEntryQuerySet":
        return self.waiting().filter(batch__state=BatchState.RUNNING)


class BatchEntry(models.Model):
    """One booking of a batch: waiting to be asked, asked, or left out with a reason."""

    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="entries")
    booking = models.ForeignKey(Booking, on_delete=models.PROTECT, related_name="batch_entries")
    notification = models.OneToOneField(
        Notification,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="batch_entry",
        help_text="The notification as it stands now: one that is asked afresh takes its place.",
    )
    left_out = models.CharField(
        max_length=200, blank=True, help_text="Why the customer was not notified."
    )
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = BatchEntryQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "batch entries"
        indexes = [
            models.Index(
                fields=["batch", "id"], name="batch_entry_waits", condition=Q(settled_at=None)
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["batch", "booking"], name="booking_once_in_a_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.booking} in {self.batch}"

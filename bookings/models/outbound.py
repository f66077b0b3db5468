"""Every SMS that we send: its kind, its text, and each change of its state.

Every change of state is a method here, so that this file shows which state can follow which. Code that reads messages
may filter by state; only this file sets it.
"""

import datetime as dt
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, When
from django.db.models.functions import Now
from django.utils import timezone

from bookings.models import message_states
from bookings.models.consent import Consent
from bookings.models.fields import MsisdnField, is_one_of, msisdn_is_e164
from bookings.models.inbound import InboundMessage, InboundMessageQuerySet, Outcome
from bookings.models.keys import new_key
from bookings.models.message_states import MessageState
from bookings.models.notifications import Notification, NotificationState
from bookings.models.schedule import Booking, BookingState


class Kind(models.TextChoices):
    NOTIFICATION = "notification", "notification"
    ACKNOWLEDGEMENT = "acknowledgement", "acknowledgement"
    RE_PROMPT = "re_prompt", "options again"
    HELP = "help", "help"
    OPT_OUT_CONFIRMATION = "opt_out_confirmation", "opt-out confirmation"
    TOLD = "told", "message from dispatch"
    STAFF = "staff", "message from staff"
    REMINDER = "reminder", "reminder"


#: Answers to a text that the customer has just sent: sent before bulk and in quiet hours, never repeated automatically.
ANSWERS = (Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT, Kind.HELP, Kind.OPT_OUT_CONFIRMATION)
#: Sent even to a customer who has opted out.
DESPITE_OPT_OUT = (Kind.HELP, Kind.OPT_OUT_CONFIRMATION)
#: Messages that ask for a reply: not sent shortly before the notification closes.
ASKING_KINDS = (Kind.NOTIFICATION, Kind.REMINDER)
#: States in which a message may still be handed over, now or once more.
IN_OUR_HANDS = (MessageState.QUEUED, MessageState.SENDING, MessageState.UNKNOWN)
#: Sent a second time if nobody knows whether the gateway took the first one.
SENT_AGAIN = (Kind.NOTIFICATION, Kind.TOLD)


def _is_of(batches: Any) -> Q:
    return Q(kind__in=ASKING_KINDS, notification__batch_entry__batch__in=batches)


class OutboundMessageQuerySet(models.QuerySet["OutboundMessage"]):
    """Selections first, then one method for each change of state. A method changes only rows in the states it names."""

    def queued(self) -> "OutboundMessageQuerySet":
        return self.filter(state=MessageState.QUEUED)

    def claimed(self) -> "OutboundMessageQuerySet":
        """Messages that a worker has claimed and for which no call to the gateway has started."""
        return self.filter(state=MessageState.SENDING, call_started_at=None)

    def locked(self) -> "OutboundMessageQuerySet":
        """These messages, locked in primary-key order until the transaction ends."""
        return self.order_by("pk").select_for_update(of=("self",))

    def answers_to(self, inbound: Any) -> "OutboundMessageQuerySet":
        """Automatic answers to a reply, without what staff wrote."""
        return self.filter(in_reply_to=inbound, kind__in=ANSWERS)

    def of_batches(self, batches: Any) -> "OutboundMessageQuerySet":
        """The notifications and reminders of these batches.

        An answer to a reply belongs to no batch: it is sent whatever has become of the batch.
        """
        return self.filter(_is_of(batches))

    def not_of_batches(self, batches: Any) -> "OutboundMessageQuerySet":
        return self.exclude(_is_of(batches))

    def with_batch_state(self) -> "OutboundMessageQuerySet":
        """Annotate `batch_state`: the state of the message's batch, or None if it belongs to none."""
        state = F("notification__batch_entry__batch__state")
        return self.annotate(batch_state=Case(When(kind__in=ASKING_KINDS, then=state)))

    def cancellable(self) -> "OutboundMessageQuerySet":
        """Messages that may still be handed over or tried again. `cancel` changes no others."""
        return self.filter(state__in=IN_OUR_HANDS)

    def repeating_notifications(self) -> "OutboundMessageQuerySet":
        """Answers that repeat the customer's open notifications, as long as no call has started for them."""
        replies = (Outcome.CLOSED, Outcome.TOO_LATE)
        return self.filter(
            Q(state=MessageState.QUEUED) | Q(state=MessageState.SENDING, call_started_at=None),
            Q(kind=Kind.RE_PROMPT) | Q(kind=Kind.ACKNOWLEDGEMENT, in_reply_to__outcome__in=replies),
        )

    def going_again(self, now: dt.datetime) -> "OutboundMessageQuerySet":
        """Messages to be sent a second time, because nobody knows whether the gateway took them.

        Only while they are true, and if the customer has neither written since nor opted out.
        """
        wrote = InboundMessage.objects.filter(
            Q(msisdn=OuterRef("msisdn")) | Q(booking=OuterRef("booking")),
            received_at__gte=OuterRef("call_started_at"),
        )
        opted_out = Consent.objects.opted_out().filter(msisdn=OuterRef("msisdn"))
        return self._repeatable().filter(
            ~Exists(wrote),
            ~Exists(opted_out),
            Q(valid_until=None) | Q(valid_until__gt=now),
            Q(notification=None) | Q(notification__state=NotificationState.OPEN),
            kind__in=SENT_AGAIN,
        )

    def _repeatable(self) -> "OutboundMessageQuerySet":
        return self.filter(state=MessageState.UNKNOWN, sent_again=False, never_again="")

    def claim(self, token: str, lease: dt.timedelta) -> int:
        """queued -> sending: give the messages to one worker for the time of a lease. Returns how many."""
        # The state in the condition makes it right on every database, with SKIP LOCKED or without.
        return self.queued().update(
            state=MessageState.SENDING,
            token=token,
            lease_until=Now() + lease,
            call_started_at=None,
            claims=F("claims") + 1,
        )

    def start_call(self, token: str, now: dt.datetime, lease: dt.timedelta) -> int:
        """Mark that the call to the gateway starts, and renew the lease. Returns 0 if the claim was lost."""
        ours = self.claimed().filter(token=token, lease_until__gt=Now())
        return ours.update(call_started_at=now, lease_until=Now() + lease)

    def unclaim(self) -> int:
        """sending -> queued, if no call has started: as if nobody had claimed them. Returns how many."""
        return self.claimed().update(
            state=MessageState.QUEUED, token="", lease_until=None, claims=F("claims") - 1
        )

    def postpone(self, due_at: dt.datetime, reason: str) -> int:
        """queued -> queued, not due before `due_at`. Returns how many."""
        return self.queued().update(due_at=due_at, reason=reason)

    def refuse(self, reason: str) -> int:
        """queued -> failed, without a call. Returns how many."""
        return self.queued().update(state=MessageState.FAILED, reason=reason)

    def send_again(self, now: dt.datetime, reason: str) -> int:
        """unknown -> queued, once in a message's life. Returns how many."""
        return self._repeatable().update(
            state=MessageState.QUEUED,
            sent_again=True,
            due_at=now,
            token="",
            lease_until=None,
            reason=reason,
        )

    @transaction.atomic(savepoint=False)
    def cancel(self, because: str, *, by_opt_out: bool = False) -> int:
        """queued, or claimed without a call -> cancelled. Returns how many.

        A message whose call has started cannot be called back: it is marked so that it is never tried again.
        """
        ours = self.cancellable().locked()  # no call begins or ends meanwhile
        waiting, called = [], []
        for pk, state, call_started_at in ours.values_list("pk", "state", "call_started_at"):
            if state == MessageState.QUEUED or (
                state == MessageState.SENDING and call_started_at is None
            ):
                waiting.append(pk)
            elif call_started_at is not None:
                called.append(pk)
        if called:
            OutboundMessage.objects.filter(pk__in=called).update(
                never_again=because, stopped_by_opt_out=by_opt_out
            )
        if waiting:
            OutboundMessage.objects.filter(pk__in=waiting).update(
                state=MessageState.CANCELLED,
                reason=because,
                stopped_by_opt_out=by_opt_out,
                token="",
                lease_until=None,
            )
        return len(waiting)

    def cancel_reminders(self, because: str) -> int:
        """Cancel those of these messages that are reminders: their customer is not silent any more."""
        return self.filter(kind=Kind.REMINDER).cancel(because)


class OutboundMessage(models.Model):
    """An SMS that we send: queued in the transaction that gives rise to it, handed over by the outbox."""

    ref = models.CharField(max_length=24, unique=True, editable=False, default=new_key)
    idempotency_key = models.CharField(max_length=80, unique=True, default=new_key)
    kind = models.CharField(max_length=24, choices=Kind)
    priority = models.PositiveSmallIntegerField(default=5, help_text="The lowest goes first.")
    msisdn = MsisdnField("to")
    sender = models.CharField("from", max_length=15)
    text = models.TextField()
    parts = models.PositiveSmallIntegerField(default=1, help_text="Our estimate.")
    booking = models.ForeignKey(
        Booking,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,  # see outbound_by_booking
        related_name="outbound_messages",
    )
    notification = models.ForeignKey(
        Notification,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="outbound_messages",
    )
    in_reply_to = models.ForeignKey(
        InboundMessage,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,  # see outbound_by_reply
        related_name="answers",
    )
    told_state = models.CharField(
        max_length=16,
        choices=BookingState,
        blank=True,
        help_text="The state of the delivery that a text by dispatch tells.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    gateway = models.CharField(max_length=16)
    state = models.CharField(max_length=16, choices=MessageState, default=MessageState.QUEUED)
    reason = models.CharField(
        max_length=300, blank=True, help_text="Why it failed, is delayed or was cancelled."
    )
    queued_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    valid_until = models.DateTimeField(
        null=True, blank=True, help_text="Not sent after this moment."
    )
    token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    call_started_at = models.DateTimeField(null=True, blank=True)
    claims = models.PositiveSmallIntegerField(
        default=0, help_text="Claims that ended without a result."
    )
    sent_again = models.BooleanField(default=False)
    is_held = models.BooleanField(
        default=False,
        help_text="Queued while no sender ran, for example in an old backup. A person releases it.",
    )
    stopped_by_opt_out = models.BooleanField(
        default=False, help_text="It was cancelled because the customer opted out."
    )
    never_again = models.CharField(
        max_length=200,
        blank=True,
        help_text="Why it is not tried again: it was cancelled during a call.",
    )

    objects = OutboundMessageQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["priority", "due_at", "id"],
                name="outbox_due",
                condition=Q(state=MessageState.QUEUED),
            ),
            models.Index(fields=["-id"], name="outbox_held", condition=Q(is_held=True)),
            models.Index(
                fields=["lease_until"],
                name="outbox_leases",
                condition=Q(state=MessageState.SENDING),
            ),
            models.Index(
                fields=["due_at"], name="outbox_unknown", condition=Q(state=MessageState.UNKNOWN)
            ),
            models.Index(fields=["msisdn", "-id"], name="outbound_by_customer"),
            models.Index(fields=["booking", "msisdn", "-id"], name="outbound_by_booking"),
            # With the moment, so that slow answers are found in the index alone.
            models.Index(
                fields=["in_reply_to", "kind", "call_started_at"],
                name="outbound_by_reply",
                condition=Q(in_reply_to__isnull=False),
            ),
            models.Index(fields=["-queued_at"], name="outbound_by_time"),
            # With the parts, so that a month of them is added up from the index alone.
            models.Index(fields=["call_started_at", "parts"], name="outbound_by_call"),
            models.Index(fields=["state"], name="outbound_by_state"),
        ]
        constraints = [
            msisdn_is_e164("outbound_msisdn_is_e164"),
            is_one_of("state", MessageState, name="outbound_state_is_known"),
            is_one_of("kind", Kind, name="outbound_kind_is_known"),
            models.CheckConstraint(name="outbound_has_key", condition=~Q(idempotency_key="")),
            models.CheckConstraint(
                name="outbound_claimed_has_token",
                condition=~Q(state=MessageState.SENDING)
                | (~Q(token="") & Q(lease_until__isnull=False)),
            ),
            models.CheckConstraint(name="outbound_has_text", condition=~Q(text="")),
        ]

    def __str__(self) -> str:
        # No number: this stands in titles and logs.
        return f"SMS {self.pk} to a customer ({self.get_kind_display()})"

    def replace_text(self, text: str, **fields: Any) -> None:
        """queued, or claimed without a call -> queued with another text. The row is locked.

        If a worker has claimed the message but not started the call, its claim is revoked so that the old text is not
        sent.
        """
        claims = self.claims - (self.state == MessageState.SENDING)
        OutboundMessage.objects.filter(pk=self.pk).update(
            text=text,
            state=MessageState.QUEUED,
            token="",
            lease_until=None,
            claims=claims,
            **fields,
        )

    def note_answer(self, reason: str) -> None:
        """Note that the gateway answered the call: `update_state` then finds the state. The row is locked."""
        self.claims, self.reason = 0, reason
        self.save(update_fields=["claims", "reason"])

    def requeue(self, reason: str, due_at: dt.datetime) -> None:
        """sending -> queued: the gateway did not take it, and it is tried again. The row is locked."""
        self._end_call(MessageState.QUEUED, reason, due_at)

    def give_up(self, reason: str) -> None:
        """sending -> failed: the gateway did not take it, and it is not tried again. The row is locked."""
        self._end_call(MessageState.FAILED, reason, self.due_at)

    def stop(self) -> None:
        """sending -> cancelled: cancelled during the call, and not taken by the gateway. The row is locked."""
        self._end_call(MessageState.CANCELLED, self.never_again, self.due_at)

    def _end_call(self, state: MessageState, reason: str, due_at: dt.datetime) -> None:
        self.state, self.reason, self.due_at, self.claims = state, reason, due_at, 0
        self.token, self.lease_until, self.call_started_at = "", None, None
        self.save(
            update_fields=[
                *("state", "reason", "due_at", "claims"),
                *("token", "lease_until", "call_started_at"),
            ]
        )

    def end_claim(self, most_claims: int) -> None:
        """sending -> queued: the lease ran out before a call started. The row is locked.

        sending -> failed if that has happened `most_claims` times: the message may be what stops its workers.
        """
        is_poison = self.claims >= most_claims
        self.state = MessageState.FAILED if is_poison else MessageState.QUEUED
        self.reason = (
            f"Given up: {self.claims} senders stopped while they held it." if is_poison else ""
        )
        self.token, self.lease_until = "", None
        self.save(update_fields=["state", "reason", "token", "lease_until"])

    def update_state(self) -> None:
        """Set the state that the attempts and their receipts give (`message_states`). The row is locked."""
        attempts = [attempt.update_state() for attempt in self.attempts.order_by("number")]
        self.set_state(message_states.message_state(MessageState(self.state), attempts))

    def set_state(self, state: MessageState) -> None:
        """any -> the state that attempts and receipts give. A claim ends. The row is locked."""
        if state != self.state:
            self.state = state
            self.token, self.lease_until = "", None
            self.save(update_fields=["state", "token", "lease_until"])


def with_answers(replies: InboundMessageQuerySet) -> InboundMessageQuerySet:
    """With what our rule said to each: `answer_text`, `answer_state`, `answer_at` (handed over), or None."""
    answers = OutboundMessage.objects.answers_to(OuterRef("pk")).order_by("pk")
    return replies.annotate(
        answer_text=Subquery(answers.values("text")[:1]),
        answer_state=Subquery(answers.values("state")[:1]),
        answer_at=Subquery(answers.values("call_started_at")[:1]),
    )

"""Reminds a customer who did not answer, once, half-way between the hand-over and the close of the notification."""

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bookings import outbox
from bookings.language import encoding, messages
from bookings.models import (
    ActKind,
    BatchState,
    Booking,
    Consent,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    SlotOption,
    StaffAct,
    lock_customer,
)
from bookings.models.message_states import LOST
from bookings.notifications.drafts import LEAST_TIME_TO_ANSWER
from bookings.scheduling import offers
from bookings.scheduling.clock import is_quiet

_MOST_PARTS = 2
#: With one option left there is nothing to choose.
_LEAST_OPTIONS = 2


def send_reminders() -> int:
    """Remind the customers who are due and have not answered; in quiet hours none. Returns the number of due ones."""
    now = timezone.now()
    if is_quiet(now):
        return 0
    due = Notification.objects.open().filter(
        remind_at__lte=now,
        handed_over_at__isnull=False,
        batch_entry__batch__state=BatchState.RUNNING,
    )
    rows = list(due.order_by("remind_at", "pk").values_list("pk", "msisdn")[:200])
    for pk, msisdn in rows:
        with transaction.atomic():
            lock_customer(msisdn)
            notification = due.select_related("booking__slot", "slot").filter(pk=pk).first()
            if notification is not None:
                _remind(notification)
                Notification.objects.filter(pk=pk).update(remind_at=None)
    return len(rows)


def _remind(notification: Notification) -> None:
    now, booking = timezone.now(), notification.booking
    left = offers.remaining(notification, now)
    if len(left) < _LEAST_OPTIONS or not _is_silent(notification) or not _was_asked(notification):
        return
    ends = [notification.closes_at, *(option.slot.cutoff_at for option in left)]
    if min(ends) - now < LEAST_TIME_TO_ANSWER:
        return
    outbox.queue(
        Kind.REMINDER,
        _text(notification, left),
        key=f"reminder:{notification.pk}",
        msisdn=notification.msisdn,
        sender=notification.virtual_number,
        booking=booking,
        notification=notification,
        valid_until=min(ends),
    )


def _is_silent(notification: Notification) -> bool:
    """Return True if the customer has neither written nor been spoken to, and the booking has not changed."""
    booking = notification.booking
    words = InboundMessage.objects.filter(
        Q(booking=booking) | Q(booking=None, msisdn=notification.msisdn),
        received_at__gte=notification.handed_over_at,
    )
    acts = StaffAct.objects.filter(
        Q(booking=booking) | Q(booking=None),
        kind__in=[ActKind.TOLD_BY_PHONE, ActKind.APPLIED],
        msisdn=notification.msisdn,
        created_at__gte=notification.handed_over_at,
    )
    is_moved = (
        booking.slot_id != notification.slot_id
        or booking.slot_changes.filter(created_at__gte=notification.created_at).exists()
    )
    has_spoken = words.exists() or acts.exists()
    return booking.is_scheduled and not is_moved and not has_spoken


def _was_asked(notification: Notification) -> bool:
    """Return True if the customer can have read the notification, through today's gateway, and may be texted."""
    asked = notification.outbound_messages.filter(
        kind=Kind.NOTIFICATION, gateway=settings.SMS_GATEWAY
    ).exclude(state__in=[*LOST, MessageState.CANCELLED])
    return asked.exists() and not Consent.objects.is_opted_out(notification.msisdn)


def _text(notification: Notification, left: list[SlotOption]) -> str:
    """The text with the words of the options if it takes no more than two parts, else with their digits alone."""
    entry = getattr(notification, "batch_entry", None)
    for listed in (messages.options_text, messages.digits_text):
        text = _worded(notification, listed(left, notification.booking.language))
        if entry is not None and entry.batch.is_plain:
            text = encoding.plain(text)
        if encoding.count_parts(text) <= _MOST_PARTS:
            break
    return text


def _worded(notification: Notification, options_text: str) -> str:
    booking: Booking = notification.booking
    return messages.render(
        "reminder",
        booking.language,
        reference=booking.reference,
        where=messages.where(booking.slot, booking.language),
        options=options_text,
        until=messages.moment(notification.closes_at, booking.language),
    )

"""What we asked and said: notifications, their SMS, each try to hand one over, and its receipts."""

from collections.abc import Iterable, Iterator

from django.db.models import Q

from bookings.models import (
    Booking,
    DeliveryReceipt,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    SendAttempt,
)
from bookings.models.fields import show_msisdn
from bookings.reporting.timeline.steps import (
    Step,
    StepKind,
    Tone,
    details,
    full_name,
    moment,
    visible,
)


def ends(booking: Booking) -> Iterator[Step]:
    """How its notifications ended: closed when their time was over, or withdrawn."""
    for notification in booking.notifications.exclude(closed_at=None).order_by("pk"):
        is_withdrawn = notification.state == NotificationState.WITHDRAWN
        reason = notification.withdrawn_because or "deadline passed"
        yield Step(
            at=notification.closed_at or notification.closes_at,
            kind=StepKind.ENDED,
            title=f"Notification {'withdrawn' if is_withdrawn else 'closed'}: {visible(reason)}",
            notification=notification.pk,
        )


def _notification(notification: Notification) -> tuple[tuple[str, str], ...]:
    options = [f"{option.digit} = {option.slot}" for option in notification.options.all()]
    return details(
        ("Slot when sent", notification.slot),
        (
            "Options",
            "; ".join(options) or "none: all digits were in use",
        ),
        ("Reply until", moment(notification.closes_at)),
    )


def messages(booking: Booking) -> Iterable[OutboundMessage]:
    """The SMS about this booking, and those since it was made to this customer about none."""
    about_none = Q(booking=None, msisdn=booking.msisdn, queued_at__gte=booking.created_at)
    return (
        OutboundMessage.objects.filter(Q(booking=booking) | about_none)
        .select_related("user", "notification__slot", "notification__asked_by")
        .prefetch_related("notification__options__slot", "attempts__parts", "attempts__receipts")
        .order_by("pk")
    )


_GOOD = {MessageState.DELIVERED}
_BAD = {MessageState.FAILED, MessageState.REJECTED, MessageState.EXPIRED, MessageState.CANCELLED}


def _tone(state: str) -> Tone:
    if state in _GOOD:
        return Tone.GOOD
    return Tone.BAD if state in _BAD else Tone.WAITING


def steps(message: OutboundMessage) -> Iterator[Step]:
    """A text as it was queued, each try to hand it over, and what receipts said of it."""
    is_notification = message.kind == Kind.NOTIFICATION
    notification = message.notification if is_notification else None
    state = MessageState(message.state).label
    yield Step(
        at=message.queued_at,
        kind=StepKind.ASKED if is_notification else StepKind.TOLD,
        title=_SAYS[Kind(message.kind)],
        text=visible(message.text),
        details=details(
            ("From", show_msisdn(message.sender)),
            *(_notification(notification) if notification else ()),
            ("SMS parts", message.parts),
            ("Now", f"{state}: {message.reason}" if message.reason else state),
        ),
        who=full_name(message.user or (notification.asked_by if notification else None)),
        tone=_tone(message.state),
        inbound=message.in_reply_to_id,
        number=("To", message),
        notification=notification.pk if notification else None,
    )
    for attempt in message.attempts.all():
        yield _attempt(attempt, message, notification)
        for receipt in attempt.receipts.all():
            yield _receipt(receipt, message, notification)


_SAYS = {
    Kind.NOTIFICATION: "Notification sent",
    Kind.ACKNOWLEDGEMENT: "Acknowledgement sent",
    Kind.RE_PROMPT: "Options sent again",
    Kind.HELP: "Help sent",
    Kind.OPT_OUT_CONFIRMATION: "Opt-out confirmation sent",
    Kind.TOLD: "Message from dispatch sent",
    Kind.REMINDER: "Reminder sent",
    Kind.STAFF: "Message from staff sent",
}


def _attempt(attempt: SendAttempt, message: OutboundMessage, about: Notification | None) -> Step:
    parts = [part.gateway_message_id for part in attempt.parts.all()]
    said = attempt.get_verdict_display().replace("_", " ") or "no result yet"
    return Step(
        at=attempt.call_started_at,
        kind=StepKind.ATTEMPT,
        title=f"Send attempt {attempt.number} ({message.gateway}): {said}",
        details=details(
            ("Why", attempt.reason),
            ("Code", attempt.code if attempt.code != "0" else ""),
            ("Gateway message id", ", ".join(parts)),
            ("Client-ref", attempt.client_ref),
        ),
        tone=_tone(attempt.state),
        notification=about.pk if about else None,
    )


def _receipt(
    receipt: DeliveryReceipt, message: OutboundMessage, about: Notification | None
) -> Step:
    error = receipt.err_code if receipt.err_code.strip("0") else ""
    kind = Kind(message.kind).label
    return Step(
        at=receipt.received_at,
        kind=StepKind.RECEIPT,
        title=f"Receipt for the {kind}: {visible(receipt.status)}",
        details=details(
            ("Error code", error),
            ("Gateway message id", receipt.gateway_message_id),
            ("Price", receipt.price),
            ("Network", receipt.network_code),
        ),
        tone=_tone(receipt.status),
        notification=about.pk if about else None,
    )

"""Where an outbound message stands, as a pure function of the facts that are stored about it.

The order in which receipts arrive cannot matter, because only the set of them is looked at.
"""

from collections.abc import Iterable, Sequence

from django.db import models

from bookings.gateways import Verdict


class MessageState(models.TextChoices):
    QUEUED = "queued", "queued"
    SENDING = "sending", "sending"
    UNKNOWN = "unknown", "outcome unknown"
    SUBMITTED = "submitted", "submitted"
    ACCEPTED = "accepted", "accepted by the carrier"
    BUFFERED = "buffered", "buffered by the carrier"
    EXPIRED = "expired", "expired"
    REJECTED = "rejected", "rejected"
    FAILED = "failed", "failed"
    DELIVERED = "delivered", "delivered"
    CANCELLED = "cancelled", "cancelled"


#: Later is higher; `cancelled` stands outside.
RANK: dict[MessageState, int] = {
    state: rank for rank, state in enumerate(MessageState) if state != MessageState.CANCELLED
}

#: The gateway's final word that it did not arrive.
LOST = (MessageState.EXPIRED, MessageState.REJECTED, MessageState.FAILED)

#: Vonage's statuses that say something (delivery receipt guide, "status"). `unknown` and new ones
#: do not, but a receipt of any kind proves that the part was taken.
_STATUS = {
    "accepted": MessageState.ACCEPTED,
    "buffered": MessageState.BUFFERED,
    "delivered": MessageState.DELIVERED,
    "expired": MessageState.EXPIRED,
    "failed": MessageState.FAILED,
    "rejected": MessageState.REJECTED,
}

_ANSWER = {
    "": MessageState.SENDING,
    Verdict.ACCEPTED: MessageState.SUBMITTED,
    Verdict.UNKNOWN: MessageState.UNKNOWN,
    Verdict.REFUSED: MessageState.FAILED,
    Verdict.PARTIAL: MessageState.FAILED,
    Verdict.NOT_SENT: MessageState.QUEUED,
    Verdict.THROTTLED: MessageState.QUEUED,
    Verdict.ACCOUNT: MessageState.QUEUED,
    Verdict.PROVIDER_ERROR: MessageState.QUEUED,
}


def _higher(one: MessageState, other: MessageState) -> MessageState:
    return one if RANK[one] >= RANK[other] else other


def attempt_state(
    verdict: str, part_ids: Sequence[str], receipts: Iterable[tuple[str, str]]
) -> MessageState:
    """Where one attempt stands: `verdict` is "" while nothing came back, `receipts` are (message id, status).

    Delivered if all its parts are, failed if any part was lost, else as far as its slowest part:
    so that more receipts never bring it back. Without an answer from the gateway its parts are
    those that receipts named. A receipt that names none it knows of is about the only part there is.
    """
    parts = dict.fromkeys(part_ids, MessageState.SUBMITTED)
    lost = [MessageState.FAILED] if verdict == Verdict.REFUSED else []
    for message_id, status in receipts:
        said = _STATUS.get(status, MessageState.SUBMITTED)
        part = message_id if message_id in part_ids or len(part_ids) != 1 else part_ids[0]
        if part or not part_ids:
            parts[part] = _higher(parts.get(part, MessageState.SUBMITTED), said)
        lost += [said] if said in LOST else []
    if verdict == Verdict.PARTIAL or not parts:
        return _ANSWER[verdict]
    slowest = min(parts.values(), key=RANK.__getitem__)
    return (
        slowest
        if slowest == MessageState.DELIVERED
        else max([slowest, *lost], key=RANK.__getitem__)
    )


def message_state(now: MessageState, attempts: Sequence[MessageState]) -> MessageState:
    """Where a message stands: with its latest attempt, or delivered if any attempt was.

    An attempt that nobody has (`queued`) does not count. While the message waits or is cancelled,
    only proof that the gateway took it changes that.
    """
    taken = [state for state in attempts if state != MessageState.QUEUED]
    if not taken:
        return now
    if MessageState.DELIVERED in taken:
        return MessageState.DELIVERED
    latest = taken[-1]
    waits = now in {MessageState.QUEUED, MessageState.CANCELLED, MessageState.FAILED}
    return now if waits and RANK[latest] < RANK[MessageState.SUBMITTED] else latest

"""Whether one text reached its phone, in a sentence."""

from bookings.models import DeliveryReceipt, MessageState, OutboundMessage
from bookings.reporting.timeline.steps import moment, visible

_SENTENCES = {
    MessageState.QUEUED: "Not yet: queued.",
    MessageState.SENDING: "Not yet: being sent.",
    MessageState.SUBMITTED: "Unknown: sent, no delivery receipt yet.",
    MessageState.ACCEPTED: "Not yet: accepted by the network.",
    MessageState.BUFFERED: "Not yet: the phone is unreachable, the network keeps trying.",
    MessageState.DELIVERED: "Yes.",
    MessageState.FAILED: "No: failed.",
    MessageState.EXPIRED: "No: expired, the phone was unreachable for too long.",
    MessageState.REJECTED: "No: rejected by the network.",
    MessageState.UNKNOWN: "Unknown: it is not known whether the gateway accepted it.",
    MessageState.CANCELLED: "No: cancelled before sending.",
}


def has_arrived(message: OutboundMessage) -> str:
    """Yes or no, why, and since when we know it: from its state and its last receipt."""
    said = [_SENTENCES[MessageState(message.state)]]
    if message.reason:
        said.append(f"Reason: {visible(message.reason)}")
    receipts = DeliveryReceipt.objects.filter(attempt__message=message).order_by("-received_at")
    if receipt := receipts.first():
        error = f", error {visible(receipt.err_code)}" if receipt.err_code.strip("0") else ""
        said.append(
            f'Last receipt: "{visible(receipt.status)}"{error}, {moment(receipt.received_at)}.'
        )
    return " ".join(said)

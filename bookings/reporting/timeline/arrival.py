"""Whether one text reached its phone, in a sentence."""

from bookings.models import DeliveryReceipt, MessageState, OutboundMessage
from bookings.reporting.timeline.steps import moment, visible

_SENTENCES = {
    MessageState.QUEUED: "Not yet: it waits to be sent.",
    MessageState.SENDING: "Not yet: it is being handed to the gateway.",
    MessageState.SUBMITTED: "Not known: the gateway took it, and no receipt has come.",
    MessageState.ACCEPTED: "Not yet: the network has it, and the phone has not.",
    MessageState.BUFFERED: "Not yet: the phone is off or out of reach, and the network keeps trying.",
    MessageState.DELIVERED: "Yes: it reached the phone.",
    MessageState.FAILED: "No: it failed.",
    MessageState.EXPIRED: "No: the network gave up, the phone was out of reach too long.",
    MessageState.REJECTED: "No: the network refused it.",
    MessageState.UNKNOWN: "Not known: nobody can tell whether the gateway took it.",
    MessageState.CANCELLED: "No: it was cancelled before it was sent.",
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

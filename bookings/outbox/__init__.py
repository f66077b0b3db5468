"""Everything between "say this" and the gateway: queue, claim, hand over, settle, recover."""

from bookings.outbox.queueing import queue, wake_senders

__all__ = ["queue", "wake_senders"]

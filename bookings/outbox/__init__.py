"""Everything between "say this" and the gateway: queue, claim, send, settle, recover."""

from bookings.outbox.queueing import queue

__all__ = ["queue"]

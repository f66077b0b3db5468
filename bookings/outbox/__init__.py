"""Everything between "say this" and the gateway: queue, claim, send, settle, recover."""

from bookings.outbox.queueing import queue, ring

__all__ = ["queue", "ring"]

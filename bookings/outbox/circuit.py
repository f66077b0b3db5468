"""The circuit. While it is open, sending is paused, because the gateway refuses our account and not one message."""

import datetime as dt
import logging

from django.utils import timezone

from bookings.models import Circuit, OutboundMessage
from bookings.outbox.queueing import wake_senders

logger = logging.getLogger(__name__)

#: While the circuit is open one message is tried this often: the probe.
PROBE_EVERY = dt.timedelta(minutes=5)


def open_circuit(reason: str) -> None:
    """Pause sending. Messages that workers have claimed without starting the call go back to the queue."""
    now = timezone.now()
    Circuit.objects.get_or_create(pk=1)
    opened = Circuit.objects.filter(pk=1, opened_at=None).update(opened_at=now)
    Circuit.objects.filter(pk=1).update(reason=reason[:300], probe_at=now + PROBE_EVERY)
    if opened:
        OutboundMessage.objects.all().unclaim()
        logger.error("Circuit opened, sending is paused: %s", reason)


def close_circuit(*, tried_at: dt.datetime | None = None) -> bool:
    """Resume sending. Returns False if the circuit was closed already.

    `tried_at` is when a try that succeeded began: a circuit that was opened later stays open, and False is returned.
    """
    opened = Circuit.objects.filter(pk=1, opened_at__isnull=False)
    if tried_at is not None:
        opened = opened.filter(opened_at__lt=tried_at)
    closed = opened.update(opened_at=None, probe_at=None, reason="")
    if closed:
        wake_senders()
        logger.warning("Circuit closed, sending goes on")
    return bool(closed)


def count_allowed(wanted: int, now: dt.datetime) -> int:
    """Return how many messages may be tried now: all, none, or the one that probes an open circuit."""
    circuit = Circuit.current()
    if circuit.opened_at is None:
        return wanted
    is_probe_due = circuit.probe_at is None or circuit.probe_at <= now
    return min(wanted, 1) if is_probe_due else 0


def note_probe(now: dt.datetime) -> None:
    """Schedule the next probe if the circuit is open. To be called whenever messages are claimed."""
    Circuit.objects.filter(pk=1, opened_at__isnull=False).update(probe_at=now + PROBE_EVERY)

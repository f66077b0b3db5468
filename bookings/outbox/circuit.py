"""The circuit: open = sending is paused, because the gateway refuses us as a whole and would refuse every message."""

import datetime as dt
import logging

from django.db.models import F
from django.utils import timezone

from bookings.models import Circuit, MessageState, OutboundMessage
from bookings.outbox.queueing import ring

logger = logging.getLogger(__name__)

#: How often one message is tried while the circuit is open.
PROBE_EVERY = dt.timedelta(minutes=5)


def open_circuit(reason: str) -> None:
    """Pause sending, and take back what other workers have claimed but not begun to send."""
    now = timezone.now()
    Circuit.objects.get_or_create(pk=1)
    opened = Circuit.objects.filter(pk=1, opened_at=None).update(opened_at=now)
    Circuit.objects.filter(pk=1).update(reason=reason[:300], probe_at=now + PROBE_EVERY)
    if opened:
        OutboundMessage.objects.filter(state=MessageState.SENDING, call_started_at=None).update(
            state=MessageState.QUEUED, token="", lease_until=None, claims=F("claims") - 1
        )
        logger.error("Circuit opened, sending is paused: %s", reason)


def close_circuit(*, tried_at: dt.datetime | None = None) -> bool:
    """Let everything flow again. False if it was closed already, or opened after the try that succeeded."""
    opened = Circuit.objects.filter(pk=1, opened_at__isnull=False)
    if tried_at is not None:
        opened = opened.filter(opened_at__lt=tried_at)
    closed = opened.update(opened_at=None, probe_at=None, reason="")
    if closed:
        ring()
        logger.warning("Circuit closed, sending goes on")
    return bool(closed)


def allowed(wanted: int, now: dt.datetime) -> int:
    """How many messages may be tried now: all, none, or one every five minutes (see `note_probe`)."""
    circuit = Circuit.current()
    if circuit.opened_at is None:
        return wanted
    is_due = circuit.probe_at is None or circuit.probe_at <= now
    return min(wanted, 1) if is_due else 0


def note_probe(now: dt.datetime) -> None:
    """Something is being tried: if the circuit is open, it is the probe."""
    Circuit.objects.filter(pk=1, opened_at__isnull=False).update(probe_at=now + PROBE_EVERY)

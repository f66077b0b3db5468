"""The periodic work of every sender: recover, close, renew, remind, watch. Each chore may run twice at once."""

from collections.abc import Callable

from bookings.customers import tickets
from bookings.models.faults import survives
from bookings.notifications import asking, batches, reminders
from bookings.operations import alarms
from bookings.outbox import delivery_receipts, holding, recovery
from bookings.replies import multipart

#: The customers of batches that are asked between two claims. Few, so that answers to customers are not delayed.
_ASKED_AT_ONCE = 10

CHORES: tuple[Callable[[], int], ...] = (
    recovery.recover_expired_claims,
    recovery.cancel_for_opted_out,
    asking.close_past,
    asking.renew_stale,
    multipart.report_incomplete,
    delivery_receipts.process_parked,
    recovery.send_again,
    batches.withdraw_cancelled,
    reminders.send_reminders,
    tickets.report_missing_receipts,
    alarms.log_alarms,
)


def sweep() -> None:
    """Do every chore once. Raises database faults; a bug in one chore stops neither the others nor the sending."""
    holding.note_running()  # first, so that no chore touches what an old backup left waiting
    for chore in CHORES:
        _do(chore)


def ask_some() -> int:
    """Ask the next few customers of running batches. Returns the number of entries that were looked at."""
    return _do(lambda: batches.ask_waiting(_ASKED_AT_ONCE))


def _do(chore: Callable[[], int]) -> int:
    counts: list[int] = []
    failed = f"Chore {chore.__name__} failed"
    survives(lambda: counts.append(chore()), otherwise=failed, is_in_savepoint=False)
    return sum(counts)

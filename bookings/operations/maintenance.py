"""What has to be looked after again and again, by any sender: harmless to repeat, and to do twice at once."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError

from bookings.customers import tickets
from bookings.notifications import asking, batches, reminders
from bookings.operations import alarms
from bookings.outbox import delivery_receipts, holding, recovery
from bookings.replies import multipart

logger = logging.getLogger(__name__)

_FEW = 10

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
    alarms.look,
)


def sweep() -> None:
    """Do every chore once. Raises OperationalError or InterfaceError if the database is away."""
    holding.clock_in()  # before all else: what an old backup left waiting is nobody's chore
    for chore in CHORES:
        _do(chore)


def ask_some() -> int:
    """Ask the next few customers of the batches that run. Few, since answers to customers go out in between."""
    return _do(lambda: batches.ask_waiting(_FEW))


def _do(chore: Callable[[], int]) -> int:
    try:
        return chore()
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # a bug in one chore may stop neither the others nor the sending
        logger.exception("Chore %s failed", chore.__name__)
        return 0

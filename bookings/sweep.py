"""What has to be looked after again and again, by any sender: harmless to repeat, and to do twice at once."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError

from bookings import notifications, receipts
from bookings.outbox import recovery

logger = logging.getLogger(__name__)

CHORES: tuple[Callable[[], int], ...] = (
    recovery.recover,
    recovery.cancel_for_opted_out,
    notifications.close_past,
    notifications.ask_afresh,
    receipts.apply_parked,
    recovery.send_again,
)


def sweep() -> None:
    """Do every chore once. Raises OperationalError or InterfaceError if the database is away."""
    for chore in CHORES:
        try:
            chore()
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # a bug in one chore may stop neither the others nor the sending
            logger.exception("Chore %s failed", chore.__name__)

"""What has to be looked after again and again, by any sender: harmless to repeat, and to do twice at once."""

from collections.abc import Callable

from bookings import notifications, receipts
from bookings.outbox import recovery

CHORES: tuple[Callable[[], int], ...] = (
    recovery.recover,
    recovery.cancel_for_opted_out,
    notifications.close_past,
    notifications.ask_afresh,
    receipts.apply_parked,
    recovery.send_again,
)


def sweep() -> None:
    """Do every chore once."""
    for chore in CHORES:
        chore()

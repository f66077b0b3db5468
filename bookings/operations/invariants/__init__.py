"""Invariants: statements about the stored data that are always true and that no constraint can keep.

Each check yields a line for each contradiction that it finds. Most are one query; none locks rows.
"""

from collections.abc import Iterator

from bookings.operations.invariants.batches import CHECKS as BATCHES
from bookings.operations.invariants.limits import CHECKS as LIMITS
from bookings.operations.invariants.replies import CHECKS as REPLIES
from bookings.operations.invariants.schedule import CHECKS as SCHEDULE
from bookings.operations.invariants.sending import CHECKS as SENDING
from bookings.operations.invariants.tickets import CHECKS as TICKETS

__all__ = ["CHECKS", "find_contradictions"]

CHECKS = (*SCHEDULE, *REPLIES, *SENDING, *LIMITS, *BATCHES, *TICKETS)


def find_contradictions() -> Iterator[str]:
    """Yield one line for each contradiction, without a customer's name, number or words."""
    for check in CHECKS:
        yield from check()

"""What must be true of the stored data whatever happened, and is not already kept by a constraint.

Each check yields a line for each contradiction it finds. Most are one query; none locks anything.
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
    """One line for each, without a customer's name, number or words."""
    for check in CHECKS:
        yield from check()

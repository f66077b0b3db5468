"""What must be true of the stored data whatever happened, and is not already kept by a constraint.

Each check yields a line for each contradiction it finds. Most are one query; none locks anything.
"""

from collections.abc import Iterator

from bookings.invariants.batches import CHECKS as BATCHES
from bookings.invariants.concerns import CHECKS as CONCERNS
from bookings.invariants.limits import CHECKS as LIMITS
from bookings.invariants.replies import CHECKS as REPLIES
from bookings.invariants.schedule import CHECKS as SCHEDULE
from bookings.invariants.sending import CHECKS as SENDING

__all__ = ["CHECKS", "find_contradictions"]

CHECKS = (*SCHEDULE, *REPLIES, *SENDING, *LIMITS, *BATCHES, *CONCERNS)


def find_contradictions() -> Iterator[str]:
    """One line for each, without a customer's name, number or words."""
    for check in CHECKS:
        yield from check()

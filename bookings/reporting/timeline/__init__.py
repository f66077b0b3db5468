"""Why a booking stands where it stands: every step of it in order, for the admin.

Everything is told from stored rows alone, in a number of queries that does not grow with them.
"""

from collections.abc import Sequence

from bookings.models import Booking
from bookings.reporting.timeline import acts, received, sent
from bookings.reporting.timeline.acts import last_changed_by
from bookings.reporting.timeline.arrival import has_arrived
from bookings.reporting.timeline.steps import Step, StepKind, Tone, moment, visible

__all__ = [
    "Step",
    "StepKind",
    "Tone",
    "has_arrived",
    "last_changed_by",
    "moment",
    "timeline",
    "visible",
    "why",
]


def timeline(booking: Booking) -> list[Step]:
    """Every step of a booking, oldest first."""
    steps = [
        *acts.by_staff(booking),
        *acts.attended(booking),
        *sent.ends(booking),
        *(step for message in sent.messages(booking) for step in sent.steps(message)),
        *map(received.step, received.messages(booking)),
        *map(acts.moved, acts.slot_changes(booking)),
        *map(acts.consent, acts.consent_changes(booking)),
    ]
    order = list(StepKind)
    return sorted(steps, key=lambda step: (step.at, order.index(step.kind)))


def why(steps: Sequence[Step]) -> list[Step]:
    """Why a booking is in its slot, from its timeline: its last move, back to the customer's words.

    Five lines at the most: the move, what the customer was told of it, the notification, its receipt, the reply.
    Empty if it was never moved.
    """
    moves = [step for step in steps if step.kind in {StepKind.MOVED, StepKind.MOVED_BY_STAFF}]
    if not moves:
        return []
    reply = _reply_behind(moves[-1], steps)
    if reply is None:
        return moves[-1:]
    notification = [
        step
        for step in steps
        if step.notification == reply.notification is not None and step.at <= reply.at
    ]
    asked = [step for step in notification if step.kind == StepKind.ASKED][-1:]
    arrived = [step for step in notification if step.kind == StepKind.RECEIPT][-1:]
    told = [step for step in steps if step.kind == StepKind.TOLD and step.inbound == reply.inbound]
    return [moves[-1], *told[:1], *asked, *arrived, reply]


def _reply_behind(move: Step, steps: Sequence[Step]) -> Step | None:
    replies = (step for step in steps if step.kind == StepKind.REPLY)
    return next((step for step in replies if step.inbound == move.inbound), None)

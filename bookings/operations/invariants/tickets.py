"""Every text that needs a person has a ticket, and every settled ticket says by whom and how."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q

from bookings.models import InboundMessage, Outcome, Settlement, Ticket
from bookings.models.inbound import SAME_TEXT_FOR
from bookings.replies.parser import WANTS_OUT
from bookings.replies.screening import TOO_MANY

#: Texts with these outcomes always need a person, unless they came in a flood.
_FOR_A_PERSON = (
    *(Outcome.TOO_LATE, Outcome.CLOSED, Outcome.NO_QUESTION, Outcome.CANCEL_ASKED),
    *(Outcome.UNKNOWN_SENDER, Outcome.NOT_OURS, Outcome.ERROR),
)


def what_needs_a_person_is_in_the_queue() -> Iterator[str]:
    wants_out = Q(rule=WANTS_OUT)
    needing = Q(outcome__in=_FOR_A_PERSON) | wants_out | Q(is_incomplete=True)
    lacking = InboundMessage.objects.filter(needing, ticket=None).exclude(rule=TOO_MANY)
    lacking = lacking.exclude(Q(outcome=Outcome.PART) & _has_piece_in_the_queue())
    for inbound in lacking.order_by("pk").values_list("pk", flat=True):
        yield f"I12 inbound message {inbound}: it needs a person, and stands in no queue"


def _has_piece_in_the_queue() -> Exists:
    """One ticket stands for all the pieces of a text that did not become whole."""
    received = OuterRef("received_at")
    same = {
        f"inbound__{name}": OuterRef(name)
        for name in ("msisdn", "virtual_number", "part_ref", "part_total")
    }
    near = (received - SAME_TEXT_FOR, received + SAME_TEXT_FOR)
    return Exists(Ticket.objects.filter(**same, inbound__received_at__range=near))


def settled_tickets_say_by_whom() -> Iterator[str]:
    by_nobody = Ticket.objects.exclude(settled_at=None).filter(settled_by=None)
    for ticket in by_nobody.exclude(settlement=Settlement.OVERTAKEN).values_list("pk", flat=True):
        yield f"I12 ticket {ticket}: settled, and nobody says by whom"
    told_too_soon = Ticket.objects.waiting().filter(
        Q(settled_by__isnull=False) | Q(owner=None, taken_at__isnull=False)
    )
    for ticket in told_too_soon.values_list("pk", flat=True):
        yield f"I12 ticket {ticket}: it waits, and says who settled or took it"


CHECKS = (what_needs_a_person_is_in_the_queue, settled_tickets_say_by_whom)

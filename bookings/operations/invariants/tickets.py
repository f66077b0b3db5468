"""What needs a person stands in the queue, and what was settled says by whom and how."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q

from bookings.models import InboundMessage, Outcome, Settlement, Ticket
from bookings.models.inbound import SAME_TEXT_FOR


def what_needs_a_person_is_in_the_queue() -> Iterator[str]:
    lacking = InboundMessage.objects.needing_attention().filter(ticket=None)
    lacking = lacking.exclude(Q(outcome=Outcome.PART) & _has_piece_in_the_queue())
    for inbound in lacking.order_by("pk").values_list("pk", flat=True):
        yield f"I12 inbound message {inbound}: it needs a person, and stands in no queue"
    done = Ticket.objects.waiting().filter(inbound__attention="", inbound__isnull=False)
    for ticket in done.values_list("pk", flat=True):
        yield f"I12 ticket {ticket}: it waits, and its message needs nobody"


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

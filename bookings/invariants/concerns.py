"""What needs a person stands in the queue, and what was settled says by whom and how."""

from collections.abc import Iterator

from django.db.models import Q

from bookings.models import Concern, InboundMessage, Settlement


def what_needs_a_person_is_in_the_queue() -> Iterator[str]:
    lacking = InboundMessage.objects.needing_attention().filter(concern=None).order_by("pk")
    for inbound in lacking.values_list("pk", flat=True):
        yield f"I12 inbound message {inbound}: it needs a person, and stands in no queue"
    done = Concern.objects.waiting().filter(inbound__attention="", inbound__isnull=False)
    for concern in done.values_list("pk", flat=True):
        yield f"I12 concern {concern}: it waits, and its message needs nobody"


def settled_concerns_say_by_whom() -> Iterator[str]:
    by_nobody = Concern.objects.exclude(settled_at=None).filter(settled_by=None)
    for concern in by_nobody.exclude(settlement=Settlement.OVERTAKEN).values_list("pk", flat=True):
        yield f"I12 concern {concern}: settled, and nobody says by whom"
    told_too_soon = Concern.objects.waiting().filter(
        Q(settled_by__isnull=False) | Q(owner=None, taken_at__isnull=False)
    )
    for concern in told_too_soon.values_list("pk", flat=True):
        yield f"I12 concern {concern}: it waits, and says who settled or took it"


CHECKS = (what_needs_a_person_is_in_the_queue, settled_concerns_say_by_whom)

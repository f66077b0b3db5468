"""What the customer wrote, how it was read, and what our rule made of it."""

from collections.abc import Iterable

from django.db.models import Q

from bookings.models import Booking, InboundMessage, Outcome
from bookings.reporting.timeline.steps import Step, StepKind, Tone, details, visible


def messages(booking: Booking) -> Iterable[InboundMessage]:
    """The replies about this booking, and those since it was made by this customer about none.

    The pieces of a long reply are told with the part that completed it.
    """
    about_none = Q(booking=None, msisdn=booking.msisdn, received_at__gte=booking.created_at)
    texts = InboundMessage.objects.filter(Q(booking=booking) | about_none, joined_in=None)
    return texts.select_related("option__slot", "ticket").order_by("pk")


def step(inbound: InboundMessage) -> Step:
    option = inbound.option
    return Step(
        at=inbound.received_at,
        kind=StepKind.REPLY,
        title="Reply" + ("" if inbound.booking_id else ", no delivery found"),
        text=visible(inbound.said) or "(empty)",
        details=details(
            ("Read as", _reading(inbound)),
            ("Stands for", f"{option.digit} = {option.slot}" if option else ""),
            ("Outcome", Outcome(inbound.outcome).label if inbound.outcome else "not processed yet"),
            ("Needs attention", inbound.attention),
        ),
        tone=Tone.BAD if inbound.attention else Tone.CUSTOMER,
        inbound=inbound.pk,
        notification=inbound.notification_id,
        number=("From", inbound),
    )


def _reading(inbound: InboundMessage) -> str:
    matched = f', matched "{inbound.matched}"' if inbound.matched else ""
    return f"{inbound.reading} (rule: {inbound.rule}{matched})" if inbound.reading else ""

"""The card *Try it* on the start page: the first booking's phone on one side, its timeline on the other."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from bookings.models import Booking
from bookings.reporting.timeline import Step, timeline
from bookings.web.demo import first_booking, is_demo
from bookings.web.demo.accounts import working_logins
from bookings.web.simulator.phone_screens import Bubble, thread

_BUBBLES, _STEPS = 6, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Return the content of the card, and the actions that its reader may take."""

    booking: Booking
    bubbles: list[Bubble]  # the latest texts of the phone
    steps: list[Step]  # of the timeline, the newest first
    may_reply: bool
    may_import: bool


def context(request: HttpRequest) -> dict[str, Callable[[], Any]]:
    """Give every page what the demo may show on it (a context processor). Looked up only where a page asks for it."""
    user = getattr(request, "user", AnonymousUser())
    return {"demo_logins": working_logins, "demo_card": functools.partial(card_for, user)}


def card_for(user: User | AnonymousUser) -> Card | None:
    """Return the card, or None outside the demo, without demo data, and for whoever may not see bookings."""
    if not is_demo() or not user.has_perm("bookings.view_booking"):
        return None
    booking = first_booking()
    if booking is None:
        return None
    return Card(
        booking=booking,
        bubbles=thread(booking.msisdn)[-_BUBBLES:],
        steps=timeline(booking)[: -_STEPS - 1 : -1],
        may_reply=user.has_perm("bookings.notify_booking"),
        may_import=user.has_perm("bookings.add_manifest"),
    )

"""Columns and read-only fields that the admin's pages share, and how they show words, moments and numbers."""

import datetime as dt
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.db.models import Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator

from bookings.models import InboundMessage, MessageState, Outcome, Place, Slot
from bookings.models.fields import as_msisdn, show_msisdn
from bookings.models.inbound import CHOSEN
from bookings.models.message_states import LOST
from bookings.models.schedule import DAY_FORMAT
from bookings.reporting import masking
from bookings.reporting.timeline import moment, visible
from bookings.reporting.timeline.steps import full_name

Column = Callable[[Any, Any], Any]

#: Characters of a text that a list shows; the whole of it stands on the page of its row.
_LISTED = 160

#: Colours of unfold's labels. It shows a value that is not named here without its words.
STATE_LABELS: dict[str, str] = {
    **dict.fromkeys(MessageState, "info"),
    **dict.fromkeys([MessageState.UNKNOWN, MessageState.CANCELLED], "warning"),
    **dict.fromkeys(LOST, "danger"),
    MessageState.DELIVERED: "success",
}
OUTCOME_LABELS: dict[str, str] = {
    "": "warning",
    **dict.fromkeys(Outcome, "info"),
    **dict.fromkeys(CHOSEN, "success"),
    **dict.fromkeys([Outcome.FULL, Outcome.TOO_LATE, Outcome.CLOSED], "warning"),
    **dict.fromkeys([Outcome.NOT_UNDERSTOOD, Outcome.CANCEL_ASKED], "warning"),
    **dict.fromkeys([Outcome.OPTED_OUT, Outcome.ERROR], "danger"),
}


def what_was_answered(**of_it: Any) -> Coalesce:
    """The outcome of the last valid choice; without one, of the last reply. None without a reply."""
    replies = InboundMessage.objects.filter(**of_it).order_by("-pk").values("outcome")
    choice, last = replies.filter(outcome__in=CHOSEN)[:1], replies[:1]
    return Coalesce(Subquery(choice), Subquery(last))


def _column(
    name: str, description: str, show: Callable[[Any], Any], *, ordering: str = ""
) -> Column:
    value_of = attrgetter(name)

    @admin.display(description=description, ordering=ordering or name.replace(".", "__"))
    def column(_: Any, row: Any) -> Any:
        value = value_of(row)
        return show(value) if value not in {None, ""} else None

    return column


def moment_column(name: str, description: str) -> Column:
    """A moment in the company's zone."""
    return _column(
        name, description, lambda at: format_html("<span class=moment>{}</span>", moment(at))
    )


def number_column(description: str) -> Column:
    """The customer's number: masked, with a button for whoever may see the whole of it.

    Nobody sorts by it: between numbers that one knows, a masked one could be guessed.
    """

    @admin.display(description=description)
    def column(_: Any, row: Any) -> Any:
        return show_number(row) if row.msisdn else None

    return column


def our_number_column(name: str, description: str) -> Column:
    """A number of ours, with plus and spaces; a name as it is."""
    return _column(
        name,
        description,
        lambda sender: format_html("<bdi class=phone>{}</bdi>", show_our_number(sender)),
    )


def user_column(name: str = "user", description: str = "user") -> Column:
    """A member of staff by name, without the link that the theme makes of a key: few may open it."""
    return _column(name, description, full_name, ordering=f"{name}__username")


def text_column(name: str, description: str) -> Column:
    """Words of a customer or to one: escaped, with control characters visible."""
    return _column(name, description, show_text)


def listed_text_column(name: str, description: str, *, ordering: str = "") -> Column:
    """The beginning of such words."""

    def show(text: str) -> str:
        return show_text(Truncator(text).chars(_LISTED))

    return _column(name, description, show, ordering=ordering)


def name_column(name: str, description: str) -> Column:
    """A name or a reference, with control characters visible."""
    return _column(name, description, lambda value: visible(str(value)))


def slot_column(name: str, description: str) -> Column:
    """A date over its window, and the place if it is not the door."""
    return _column(name, description, show_slot, ordering=f"{name}__date")


def show_slot(slot: Slot) -> str:
    place = "" if slot.place == Place.DOOR else f", {slot.get_place_display()}"
    return format_html(
        '<div class="slot">{}<div class="detail">{}{}</div></div>',
        show_day(slot.date),
        slot.window,
        place,
    )


def show_day(day: dt.date) -> str:
    return date_format(day, DAY_FORMAT)


def show_our_number(sender: str) -> str:
    return show_msisdn(sender) if as_msisdn(sender) == sender else visible(sender)


def show_number(row: Any) -> str:
    """A customer's number, masked; what is none, such as MTN or a short code, as it came."""
    return masking.number_of(row, may_reveal=getattr(row, "may_reveal", False))


def show_text(text: str) -> str:
    return format_html('<bdi class="sms">{}</bdi>', visible(text))


@admin.display(description="booking", ordering="booking__reference")
def booking_link(_: Any, row: Any) -> str | None:
    """The booking of a row, with its whole story behind it."""
    booking = row.booking
    if booking is None:
        return None
    return format_html(
        '<a class="link" href="{}">{}</a>',
        reverse("admin:bookings_booking_change", args=[booking.pk]),
        visible(str(booking)),
    )


@admin.display(description="customer")
def customer_and_booking(_: Any, row: Any) -> str:
    """Who, and which delivery it is about."""
    about = booking_link(_, row) or "No delivery found"
    return format_html(
        '<div class="who">{}</div><div class="detail">{}</div>', show_number(row), about
    )


@admin.display(description="reply")
def inbound_link(_: Any, row: Any) -> str | None:
    """The reply behind a row, in the customer's own words."""
    return _reply_link(row.inbound)


@admin.display(description="in reply to")
def in_reply_to_link(_: Any, row: Any) -> str | None:
    return _reply_link(row.in_reply_to)


def _reply_link(inbound: InboundMessage | None) -> str | None:
    if inbound is None:
        return None
    address = reverse("admin:bookings_inboundmessage_change", args=[inbound.pk])
    return format_html(
        '{} <a class="link" href="{}">{}</a>',
        show_text(inbound.text),
        address,
        moment(inbound.received_at),
    )

"""What the admin's pages share: who may change what, finding people by phone, and columns."""

import datetime as dt
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.admin import ModelAdmin

from bookings.admin.guard import GuardedList
from bookings.history import moment, visible
from bookings.models import InboundMessage, MessageState, Outcome, Place, Slot
from bookings.models.fields import parse_msisdn, show_msisdn
from bookings.models.messages import CHOSEN
from bookings.models.standing import LOST

Column = Callable[[Any, Any], Any]

#: Fewer digits are a part of a reference, or a short code.
_LEAST_DIGITS = 4
_SHORTEST_NUMBER = 7
#: Characters of a text that a list shows; the whole of it stands on the page of its row.
_LISTED = 160
_PHONE = re.compile(r"\+?[\d\s().\-/\u00a0]+")

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


class KeptAdmin(GuardedList, ModelAdmin):
    """Rows that nobody deletes, since history hangs on them."""

    #: What an empty list says: where its rows come from.
    empty_says = ""
    #: Columns that hold phone numbers, found by any way of writing one.
    phone_fields: tuple[str, ...] = ()
    list_per_page = 50
    list_fullwidth = True

    class Media:
        css = {"all": ["bookings/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        phones = phone_query(search_term, self.phone_fields)
        if phones is None:
            return found, may_repeat
        return queryset.filter(Q(pk__in=found.order_by().values("pk")) | phones), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["subtitle"] = visible(str(kwargs.get("obj") or ""))
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        named = {"title": "What staff changed", **(extra_context or {})}
        page: HttpResponse = super().history_view(request, object_id, named)
        return page


class HistoryAdminMixin:
    """What happened: read by whoever may, never added, changed or deleted, not by superusers either."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def phone_query(term: str, fields: tuple[str, ...]) -> Q | None:
    """Which rows a term means if it can be a phone number, or the end of one; else None."""
    digits = re.sub(r"\D", "", term)
    if not _PHONE.fullmatch(term.strip()) or len(digits) < _LEAST_DIGITS:
        return None
    pieces = {digits, digits.lstrip("0"), _digits_of(term)} - {""}
    query = Q()
    for field in fields:
        for piece in pieces:
            query |= Q(**{f"{field}__contains": piece})
    return query


def _digits_of(term: str) -> str:
    try:
        return parse_msisdn(term)
    except ValidationError:
        return ""


def what_was_answered(**of_it: Any) -> Coalesce:
    """The outcome of the last valid choice; without one, of the last reply. None without a reply."""
    replies = InboundMessage.objects.filter(**of_it).order_by("-pk").values("outcome")
    choice, last = replies.filter(outcome__in=CHOSEN)[:1], replies[:1]
    return Coalesce(Subquery(choice), Subquery(last))


# Columns and read-only fields


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


def phone_column(name: str, description: str) -> Column:
    """A number with plus and spaces; what is none, as it came."""
    return _column(
        name,
        description,
        lambda msisdn: format_html("<bdi class=phone>{}</bdi>", show_phone(msisdn)),
    )


def text_column(name: str, description: str) -> Column:
    """Words of a customer or to one: escaped, with control characters visible."""
    return _column(name, description, show_text)


def listed_text_column(name: str, description: str) -> Column:
    """The beginning of such words."""
    return _column(name, description, lambda text: show_text(Truncator(text).chars(_LISTED)))


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
    return date_format(day, "D j M Y")


def show_phone(msisdn: str) -> str:
    """What came from a network may be a name, such as MTN, or a short code."""
    is_number = msisdn.isdecimal() and len(msisdn) >= _SHORTEST_NUMBER
    return show_msisdn(msisdn) if is_number else visible(msisdn)


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


@admin.display(description="customer", ordering="msisdn")
def customer_and_booking(_: Any, row: Any) -> str:
    """Who, and which delivery it is about."""
    about = booking_link(_, row) or "no delivery"
    return format_html(
        '<bdi class="phone">{}</bdi><div class="detail">{}</div>', show_phone(row.msisdn), about
    )


@admin.display(description="customer's reply")
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

"""What the admin's pages share: who may change what, finding people by phone, and columns."""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from bookings.history import moment, visible
from bookings.models import MessageState, Outcome
from bookings.models.fields import parse_msisdn, show_msisdn

Column = Callable[[Any, Any], Any]

#: Fewer digits are a part of a reference, or a short code.
_LEAST_DIGITS = 4
_SHORTEST_NUMBER = 7
_PHONE = re.compile(r"\+?[\d\s().\-/\u00a0]+")

#: Colours of unfold's labels.
STATE_LABELS = {
    MessageState.DELIVERED: "success",
    MessageState.FAILED: "danger",
    MessageState.REJECTED: "danger",
    MessageState.EXPIRED: "danger",
    MessageState.UNKNOWN: "warning",
    MessageState.CANCELLED: "warning",
    MessageState.QUEUED: "info",
    MessageState.SENDING: "info",
    MessageState.SUBMITTED: "info",
    MessageState.ACCEPTED: "info",
    MessageState.BUFFERED: "info",
}
OUTCOME_LABELS = {
    Outcome.MOVED: "success",
    Outcome.KEPT: "success",
    Outcome.ALREADY: "success",
    Outcome.FULL: "warning",
    Outcome.TOO_LATE: "warning",
    Outcome.CLOSED: "warning",
    Outcome.NOT_UNDERSTOOD: "warning",
    Outcome.CANCEL_ASKED: "warning",
    Outcome.OPTED_OUT: "danger",
    Outcome.ERROR: "danger",
}


class KeptAdmin(ModelAdmin):
    """Rows that nobody deletes, since history hangs on them."""

    #: What an empty list says: where its rows come from.
    empty_says = ""
    #: Columns that hold phone numbers, found by any way of writing one.
    phone_fields: tuple[str, ...] = ()
    list_per_page = 50
    list_filter_submit = False
    show_full_result_count = False

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


# Columns and read-only fields


def _column(name: str, description: str, show: Callable[[Any], Any]) -> Column:
    value_of = attrgetter(name)

    def column(_: Any, row: Any) -> Any:
        value = value_of(row)
        return show(value) if value not in {None, ""} else None

    column.short_description = description  # type: ignore[attr-defined]
    column.admin_order_field = name.replace(".", "__")  # type: ignore[attr-defined]
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


def show_phone(msisdn: str) -> str:
    """What came from a network may be a name, such as MTN, or a short code."""
    is_number = msisdn.isdecimal() and len(msisdn) >= _SHORTEST_NUMBER
    return show_msisdn(msisdn) if is_number else visible(msisdn)


def show_text(text: str) -> str:
    return format_html('<bdi class="sms">{}</bdi>', visible(text))


def booking_link(_: Any, row: Any) -> str | None:
    """The booking of a row, with its whole story behind it."""
    booking = row.booking
    if booking is None:
        return None
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:bookings_booking_change", args=[booking.pk]), booking
    )


booking_link.short_description = "booking"  # type: ignore[attr-defined]
booking_link.admin_order_field = "booking__reference"  # type: ignore[attr-defined]

"""What the admin's pages share: who may see and change what, and finding people by phone."""

import re
from functools import reduce
from operator import or_
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Model, Q, QuerySet, Value
from django.http import HttpRequest, HttpResponse

from bookings.admin.shared.guard import GuardedList
from bookings.models.fields import parse_msisdn
from bookings.reporting.timeline import visible

#: Fewer digits are a part of a reference, or a short code.
_LEAST_DIGITS = _LAST_DIGITS = 4
#: What hand-made addresses may not filter by: a masked number could be guessed digit by digit.
_HIDDEN = frozenset({"msisdn", "raw", "imported", "refusals", "content"})
_PHONE = re.compile(r"\+?[\d\s().\-/\u00a0]+")


class KeptAdmin(GuardedList):
    """Rows that nobody deletes, since history hangs on them."""

    #: What an empty list says: where its rows come from.
    empty_says = ""
    #: Columns that hold phone numbers, found by any way of writing one.
    phone_fields: tuple[str, ...] = ()
    #: Fields that only whoever has the permission sees.
    guarded_fields: dict[str, str] = {}
    list_per_page = 50
    list_fullwidth = True

    class Media:
        css = {"all": ["bookings/admin.css"]}
        js = ["bookings/reveal.js"]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_reveal_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.reveal_number")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Its rows, each of which says whether its reader may see the whole number (`number_column`)."""
        rows: QuerySet[Any] = super().get_queryset(request)
        may_reveal = Value(self.has_reveal_permission(request), output_field=BooleanField())
        annotated: QuerySet[Any] = rows.annotate(may_reveal=may_reveal)
        return annotated

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fields: list[str] = super().get_fields(request, obj)
        guarded = self.guarded_fields
        return [
            name for name in fields if name not in guarded or request.user.has_perm(guarded[name])
        ]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        is_hidden = not _HIDDEN.isdisjoint(lookup.split("__"))
        return not is_hidden and bool(super().lookup_allowed(lookup, value, request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        in_pieces = self.has_reveal_permission(request)
        phones = phone_query(search_term, self.phone_fields, in_pieces=in_pieces)
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
        named = {"title": "Changes by staff", **(extra_context or {})}
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


def phone_query(term: str, fields: tuple[str, ...], *, in_pieces: bool) -> Q | None:
    """Which rows a term means if it can be a phone number, its last four digits or a piece of one; else None.

    Other pieces than the last four digits are looked for only `in_pieces`: with them a masked number can be
    guessed.
    """
    digits = re.sub(r"\D", "", term)
    if not _PHONE.fullmatch(term.strip()) or len(digits) < _LEAST_DIGITS:
        return None
    pieces = {digits, digits.lstrip("0"), _digits_of(term)} - {""}
    lookup = "contains" if in_pieces else "exact"
    if len(digits) == _LAST_DIGITS:
        lookup, pieces = "contains" if in_pieces else "endswith", {digits}
    wanted = [Q(**{f"{field}__{lookup}": piece}) for field in fields for piece in pieces]
    return reduce(or_, wanted, Q())


def last_digits(term: str) -> str:
    """The last four digits of what can be a phone number, however it is written; else ""."""
    digits = re.sub(r"\D", "", term)
    is_number = _PHONE.fullmatch(term.strip()) and len(digits) > _LAST_DIGITS
    return digits[-_LAST_DIGITS:] if is_number else ""


def _digits_of(term: str) -> str:
    try:
        return parse_msisdn(term)
    except ValidationError:
        return ""

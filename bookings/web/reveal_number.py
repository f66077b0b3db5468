"""Showing a customer's full phone number on a click. Each view is recorded first."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from bookings.models import (
    ActKind,
    Booking,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Notification,
    OutboundMessage,
    StaffAct,
    Ticket,
)
from bookings.models.fields import as_msisdn, show_msisdn
from bookings.web.accounts.access import StaffRequest, is_fetch, staff_only
from bookings.web.pages import render_page

_MODELS: tuple[type[Model], ...] = (
    *(Booking, Notification, OutboundMessage, InboundMessage),
    *(DeliveryReceipt, ConsentChange, StaffAct, Ticket),
)
#: The models whose pages show a customer's number, by their names in URLs and permissions.
TABLES: dict[str, Any] = {model.__name__.lower(): model for model in _MODELS}

may_reveal = staff_only("bookings.reveal_number")


@require_POST
@never_cache
@may_reveal
def number(request: StaffRequest, table: str, pk: int) -> HttpResponse:
    """Record the view and show the row's full number: as plain text to a script, as a page to a browser."""
    row = _row(request, table, pk)
    msisdn = as_msisdn(row.msisdn)
    if not msisdn:
        raise Http404("There is no phone number in this row.")
    StaffAct.objects.create(
        kind=ActKind.REVEALED,
        user=request.user,
        msisdn=msisdn,
        booking=_booking(row),
        details=f"{table} {pk}",
    )
    shown = show_msisdn(msisdn)
    if is_fetch(request):
        return HttpResponse(shown, content_type="text/plain; charset=utf-8")
    back = reverse(f"admin:bookings_{table}_change", args=[pk])
    context = {"number": shown, "back": back}
    return render_page(request, "accounts/whole_number.html", "Phone number", context)


def _row(request: StaffRequest, table: str, pk: int) -> Any:
    """Return the row. Raises Http404 if there is none, PermissionDenied if the user cannot open its page."""
    model = TABLES.get(table)
    if model is None:
        raise Http404("No page of such rows shows a number.")
    if not any(request.user.has_perm(f"bookings.{may}_{table}") for may in ("view", "change")):
        raise PermissionDenied
    return get_object_or_404(model, pk=pk)


def _booking(row: Any) -> Booking | None:
    match row:
        case Booking():
            return row
        case DeliveryReceipt():
            return row.attempt.message.booking if row.attempt else None
        case ConsentChange():
            return None
    booking: Booking | None = row.booking
    return booking

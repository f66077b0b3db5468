"""What did October cost? One page for each month, by country."""

import datetime as dt
from decimal import Decimal

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format

from bookings.admin.shared.pages import OwnPages
from bookings.models.schedule import EARLIEST
from bookings.reporting import costs

_MONTHS_SHOWN = 12


class CostsPage(OwnPages):
    """On the list of outbound messages, for whoever may see how each was handed over."""

    def get_urls(self) -> list[URLPattern]:
        return [self.own_path("costs/", self.costs_view, "costs"), *super().get_urls()]

    def costs_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("bookings.view_sendattempt"):
            raise PermissionDenied
        this_month = costs.month_of(timezone.localdate())
        month = _month(request.GET.get("month", ""), this_month)
        rows = costs.by_country(month)
        return self.own_page(
            request,
            "outboundmessage/costs.html",
            f"Cost, {date_format(month, 'F Y')}",
            rows=rows,
            total=sum((row.amount for row in rows), Decimal()),
            texts=sum(row.texts for row in rows),
            parts=sum(row.parts for row in rows),
            unpriced=sum(row.unpriced for row in rows),
            month=month,
            is_running=month == this_month,
            months=_months_before(this_month),
        )


def _month(asked: str, otherwise: dt.date) -> dt.date:
    """`2026-10` as its first day; nonsense, what lies ahead or too far back, is this month."""
    try:
        month = dt.date.fromisoformat(f"{asked}-01")
    except ValueError:
        return otherwise
    return month if EARLIEST <= month <= otherwise else otherwise


def _months_before(month: dt.date) -> list[dt.date]:
    months = [month]
    while len(months) < _MONTHS_SHOWN:
        months.append(costs.month_of(months[-1] - dt.timedelta(days=1)))
    return months

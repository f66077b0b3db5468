"""Handing a list out as a file: the rows that are ticked, or all that a filter shows. Each is written down first."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse
from django.utils import timezone

from bookings.admin.shared.model_admins import last_digits
from bookings.admin.shared.pages import OwnPages
from bookings.models import ActKind, StaffAct
from bookings.reporting import export
from bookings.reporting.timeline import moment

_LONGEST_DETAILS = 500
_KINDS = ("csv", "xlsx")


class ExportMixin(OwnPages):
    """Lets whoever has the permission export the rows that are ticked, or all that a filter finds."""

    #: Above the list: a button that exports all that the filter shows.
    list_before_template = "admin/bookings/above_list.html"

    @property
    def media(self) -> forms.Media:
        own = forms.Media(css={"all": ["bookings/history.css"]})
        media: forms.Media = super().media + own
        return media

    def get_urls(self) -> list[URLPattern]:
        return [self.own_path("export/", self.export_view, "export"), *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.export_history")

    @admin.action(description="Export as CSV", permissions=["export"])
    def export_csv(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        return self._export(request, rows, "csv")

    @admin.action(description="Export as XLSX", permissions=["export"])
    def export_xlsx(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        return self._export(request, rows, "xlsx")

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All rows that the list shows at the same address."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_export_permission(request)):
            raise PermissionDenied
        back = reverse(f"admin:bookings_{self.opts.model_name}_changelist")
        kind = request.POST.get("kind", "")
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{back}?e=1")
        file = self._export(request, rows, kind) if kind in _KINDS else None
        return file or HttpResponseRedirect(f"{back}?{request.GET.urlencode()}")

    def _export(
        self, request: HttpRequest, rows: QuerySet[Any], kind: str
    ) -> HttpResponseBase | None:
        keys = export.keys_of(rows)
        if len(keys) > export.MOST_ROWS:
            sentence = (
                f"Nothing was exported: at most {export.MOST_ROWS:,} rows can be exported at once."
                " Filter the list first, for example by date."
            )
            self.message_user(request, sentence, messages.WARNING)
            return None
        name = str(self.opts.verbose_name_plural)
        what = f"{name}, {len(keys)} rows of {_filter_of(request, 'a search')}"
        told = f"{name}, {len(keys)} rows of {_filter_of(request, _searched(request))}"
        user: Any = request.user
        about = f"{told}, exported {moment(timezone.now())} by {user.get_username()}"
        StaffAct.objects.create(
            kind=ActKind.EXPORTED, user=user, details=f"{kind}: {what}"[:_LONGEST_DETAILS]
        )
        response = _file(rows.model, keys, about, kind)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
        response.headers["Cache-Control"] = "no-store"
        return response


def _file(model: Any, keys: Any, about: str, kind: str) -> HttpResponseBase:
    if kind == "csv":
        lines = export.as_csv(model, keys, about)
        return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    workbook = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return FileResponse(export.as_xlsx(model, keys, about), content_type=workbook)


def _filter_of(request: HttpRequest, searched: str) -> str:
    """The list's filter as it stood in its address. What was typed to search for stands in it as `searched`."""
    asked = [
        f"{name}={searched if name == SEARCH_VAR else value}"
        for name, value in request.GET.items()
        if value and name != "p"
    ]
    return f"the list with {', '.join(asked)}" if asked else "the whole list"


def _searched(request: HttpRequest) -> str:
    """The words that were searched for, of a number its last four digits."""
    term = request.GET.get(SEARCH_VAR, "")
    digits = last_digits(term)
    return "\N{BULLET}" * 4 + digits if digits else term

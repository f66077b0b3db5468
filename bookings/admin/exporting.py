"""Actions that hand a list out as a file. Each is written down before the file is given."""

from collections.abc import Callable
from typing import IO, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from bookings import export
from bookings.history import moment
from bookings.models import ActKind, StaffAct
from bookings.numbers import without_numbers

_LONGEST_DETAILS = 500


class ExportMixin:
    """Lets whoever has the permission export the rows that are ticked, or all that a filter finds."""

    opts: Any
    message_user: Any

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.export_history")

    @admin.action(description="Export as CSV", permissions=["export"])
    def export_csv(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        return self._export(request, rows, "csv", export.as_csv)

    @admin.action(description="Export as XLSX", permissions=["export"])
    def export_xlsx(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        return self._export(request, rows, "xlsx", export.as_xlsx)

    def _export(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        kind: str,
        write: Callable[[QuerySet[Any], str], IO[bytes]],
    ) -> HttpResponseBase | None:
        count = rows.count()
        if count > export.MOST_ROWS:
            sentence = (
                f"{count} rows are chosen, and at most {export.MOST_ROWS:,} can be exported at once."
                " Nothing was exported. Filter the list first."
            )
            self.message_user(request, sentence, messages.WARNING)
            return None
        name = str(self.opts.verbose_name_plural)
        what = f"{name}, {count} rows of {_filter_of(request)}"
        user: Any = request.user
        about = f"{what}, exported {moment(timezone.now())} by {user.get_username()}"
        file = write(rows, about)
        StaffAct.objects.create(
            kind=ActKind.EXPORTED, user=user, details=f"{kind}: {what}"[:_LONGEST_DETAILS]
        )
        response = FileResponse(file, as_attachment=True, filename=f"{name}.{kind}")
        response["Cache-Control"] = "no-store"
        return response


def _filter_of(request: HttpRequest) -> str:
    """The list's filter as it stood in its address, with numbers that were searched for masked."""
    asked = [f"{name}={value}" for name, value in request.GET.items() if value and name != "p"]
    words = ", ".join(asked)
    return f"the list with {without_numbers(words)}" if asked else "the whole list"

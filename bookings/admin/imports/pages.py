"""Manifests: a spreadsheet is handed in, looked at, imported while one watches, and kept as a record of who did it."""

import csv
import datetime as dt
import io
from pathlib import PurePath
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.shortcuts import redirect
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone
from unfold.decorators import display

from bookings.admin.shared.columns import moment_column, name_column, user_column
from bookings.admin.shared.guard import is_key
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.admin.shared.pages import OwnPages
from bookings.dispatch.imports import COLUMNS, MOST_ROWS, REQUIRED, ManifestError, stepwise
from bookings.dispatch.imports.stepwise import MOST_SHOWN, Work
from bookings.models import ActKind, Manifest, ManifestState, StaffAct
from bookings.reporting.export import cell
from bookings.reporting.masking import name_without_numbers, without_number, without_numbers
from bookings.reporting.timeline import visible

#: Bytes of a file that is handed in.
LARGEST_FILE = 5 * 1024 * 1024

_STATE_LABELS = {
    ManifestState.PREVIEWED: "warning",
    ManifestState.RUNNING: "info",
    ManifestState.DONE: "success",
}
_EXAMPLE = [
    ["A-1001", "Mary Lamb", "+44 7700 900123", "09:00", "12:00", "door", "en", "Ring twice", "20"],
    ["A-1002", "John Stiles", "+44 7700 900456", "13:00", "17:00", "post office", "en", "", ""],
]


@admin.register(Manifest)
class ManifestAdmin(OwnPages, HistoryAdminMixin, KeptAdmin):
    """What was imported stays as it was: only an import that is not finished can be gone on with."""

    empty_says = "No files uploaded yet. Choose “Import a spreadsheet”."
    list_before_template = "admin/bookings/manifest/hint.html"
    list_display = [
        *("handed_in", "name_shown", "by", "state_shown"),
        *("progress", "created", "changed", "refused"),
    ]
    list_display_links = ["handed_in", "name_shown"]
    list_select_related = ["user"]
    list_filter = ["state", "created_at", "user"]
    search_fields = ["name", "user__username"]
    search_help_text = "File name or uploader"
    ordering = ["-pk"]
    handed_in = moment_column("created_at", "uploaded")
    name_shown = name_column("name", "file")
    by = user_column("user", "by")

    class Media:
        css = {"all": ["bookings/manifest.css"]}
        js = ["bookings/manifest.js"]

    # Who may

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("bookings.add_manifest")

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without what the file holds, which is long and of no use in a list."""
        manifests: QuerySet[Any] = super().get_queryset(request)
        return manifests.defer("content", "refusals")

    @display(description="state", ordering="state", label=_STATE_LABELS)
    def state_shown(self, manifest: Manifest) -> tuple[str, str]:
        return manifest.state, manifest.get_state_display()

    @display(description="rows")
    def progress(self, manifest: Manifest) -> str:
        if manifest.state == ManifestState.RUNNING:
            return f"{manifest.rows_done:,} of {manifest.row_count:,}"
        return f"{manifest.row_count:,}"

    @display(description="new")
    def created(self, manifest: Manifest) -> str:
        return f"{manifest.counts.get('created', 0):,}"

    @display(description="changed")
    def changed(self, manifest: Manifest) -> str:
        return f"{manifest.counts.get('changed', 0):,}"

    @display(description="rejected")
    def refused(self, manifest: Manifest) -> str:
        return f"{manifest.counts.get('refused', 0):,}"

    # The pages

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("example/", self.example_view, "example"),
            self.own_path("<int:pk>/import/", self.import_view, "import"),
            self.own_path("<int:pk>/refused/", self.refused_view, "refused"),
            *super().get_urls(),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Hand a file in: what is wrong with it as a whole is said here, and nothing is kept."""
        self._check_may_import(request)
        fault = ""
        if request.method == "POST":
            try:
                return redirect(_page_of(_handed_in(request)))
            except ManifestError as error:
                fault = str(error)
        return self.own_page(
            request,
            "manifest/add.html",
            "Import bookings",
            fault=fault,
            required=REQUIRED,
            optional=COLUMNS[len(REQUIRED) :],
            most_rows=f"{MOST_ROWS:,}",
            largest=LARGEST_FILE,
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What it would do, how far it is, or what it did. Nothing is posted here."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        manifest = Manifest.objects.filter(pk=object_id).first() if is_key(object_id) else None
        if manifest is None:
            self.message_user(request, "Manifest not found.", messages.WARNING)
            return redirect("admin:bookings_manifest_changelist")
        told = self._told(request, manifest)
        return self.own_page(request, "manifest/page.html", visible(manifest.name), **told)

    def import_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Begin, or import the next stepwise. A script gets how far it came, a browser without one the page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._check_may_import(request)
        manifest = _found(pk)
        user = cast("Any", request.user)
        if manifest.state == ManifestState.PREVIEWED:
            stepwise.start_import(manifest, user)
        else:
            stepwise.continue_import(manifest, user)
        if request.headers.get("X-Requested-With") != "fetch":
            return redirect(_page_of(manifest))
        manifest = Manifest.objects.only("state", "rows_done", "row_count").get(pk=pk)
        return JsonResponse(
            {
                "done": manifest.rows_done,
                "rows": manifest.row_count,
                "goes_on": manifest.state == ManifestState.RUNNING,
            }
        )

    def refused_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The refused rows as a file, to be mended and handed in again. It is recorded, since it holds numbers."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._check_may_import(request)
        manifest = _found(pk)
        if not _may_see_numbers(request, manifest):
            raise PermissionDenied
        named = {name for refusal in manifest.refusals for name in refusal["cells"]}
        # A column that the file did not have would say that there are no notes.
        columns = [name for name in COLUMNS if name in named or name in REQUIRED]
        rows = [
            [f"row {refusal['line']}: {refusal['reason']}"]
            + [refusal["cells"].get(name, "") for name in columns]
            for refusal in manifest.refusals
        ]
        details = f"csv: {len(rows)} rejected rows of {manifest.name}"
        StaffAct.objects.create(
            kind=ActKind.EXPORTED, user=cast("Any", request.user), details=details
        )
        return _file(["rejected because", *columns], rows, f"rejected-{manifest.pk}.csv")

    def example_view(self, request: HttpRequest) -> HttpResponse:
        """A file that can be imported as it is."""
        self._check_may_import(request)
        day = timezone.localdate() + dt.timedelta(days=2)
        rows = [[*row[:3], day.isoformat(), *row[3:]] for row in _EXAMPLE]
        return _file(list(COLUMNS), rows, "bookings-example.csv")

    def _check_may_import(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):
            raise PermissionDenied

    def _told(self, request: HttpRequest, manifest: Manifest) -> dict[str, Any]:
        work = Work.of(manifest.content) if manifest.content else Work()
        counts = {name: manifest.counts.get(name, 0) for name in _COUNTED}
        may_see = _may_see_numbers(request, manifest)
        refused = [_told_of(each, may_see=may_see) for each in manifest.refusals[:MOST_SHOWN]]
        remarks = {
            name: [(remark.line, remark.reason) for remark in getattr(work, name)]
            for name in ("changed", "kept", "repaired")
        }
        came_in = counts["created"] + counts["changed"]
        return {
            "manifest": manifest,
            "may_import": self.has_add_permission(request),
            "counts": counts,
            "came_in": came_in,
            "sections": [
                (title, counts[name], rows if may_see else _without_numbers(rows))
                for name, title, rows in (
                    ("refused", "rejected", refused),
                    ("changed", "changed", remarks["changed"]),
                    ("kept", "changed since, left alone", remarks["kept"]),
                    ("repaired", "with a corrected phone number", remarks["repaired"]),
                )
                if rows
            ],
            "may_download": may_see and self.has_add_permission(request),
            "is_erased": not manifest.content,
            "is_previewed": manifest.state == ManifestState.PREVIEWED,
            "is_running": manifest.state == ManifestState.RUNNING,
            "bookings": f"{reverse('admin:bookings_booking_changelist')}?manifest={manifest.pk}",
            "notify": _where_to_notify(manifest),
            "may_notify": request.user.has_perm("bookings.notify_booking"),
        }


_COUNTED = ("created", "changed", "unchanged", "kept", "refused", "repaired")


def _handed_in(request: HttpRequest) -> Manifest:
    file = request.FILES.get("file")
    if file is None or isinstance(file, list):
        raise ManifestError("Choose a file first.")
    if (file.size or 0) > LARGEST_FILE:
        raise ManifestError("The file is larger than 5 MB: split it.")
    name = name_without_numbers(visible(PurePath(file.name or "").name))[:120] or "manifest"
    return stepwise.preview_import(name, file.read(), cast("Any", request.user))


def _found(pk: int) -> Manifest:
    manifest = Manifest.objects.filter(pk=pk).first() if is_key(str(pk)) else None
    if manifest is None:
        raise Http404
    return manifest


def _page_of(manifest: Manifest) -> str:
    return reverse("admin:bookings_manifest_change", args=[manifest.pk])


def _where_to_notify(manifest: Manifest) -> str:
    try:
        return f"{reverse('admin:bookings_batch_add')}?manifest={manifest.pk}"
    except NoReverseMatch:
        return f"{reverse('admin:bookings_booking_changelist')}?manifest={manifest.pk}"


def _may_see_numbers(request: HttpRequest, manifest: Manifest) -> bool:
    """Whoever handed the file in has its numbers anyway; others see them who may reveal any."""
    return manifest.user_id == request.user.pk or request.user.has_perm("bookings.reveal_number")


def _told_of(refusal: dict[str, Any], *, may_see: bool) -> tuple[int, str]:
    reason, phone = refusal["reason"], refusal["cells"].get("phone", "")
    return refusal["line"], reason if may_see else without_number(reason, phone)


def _without_numbers(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [(line, without_numbers(reason)) for line, reason in rows]


def _file(header: list[str], rows: list[list[str]], name: str) -> HttpResponse:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(
        [header, *([cell(value) for value in row] for row in rows)]
    )
    return HttpResponse(
        text.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )

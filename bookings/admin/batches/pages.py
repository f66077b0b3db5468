"""Batches: the page that shows what asking many would come to, and how far each has come."""

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from unfold.decorators import display

from bookings.admin.batches.selection import Picked, picked, senders
from bookings.admin.shared.columns import (
    booking_link,
    moment_column,
    name_column,
    show_our_number,
    user_column,
)
from bookings.admin.shared.filters import FINISHED, BatchStateFilter
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.admin.shared.pages import OwnPages
from bookings.models import Batch, BatchEntry, BatchState
from bookings.notifications import batches
from bookings.notifications.batches import progress
from bookings.notifications.batches.previewing import list_left_out, preview_batch
from bookings.reporting.timeline import visible
from bookings.scheduling.clock import is_quiet
from bookings.web.form_tokens import NONCE, new_nonce

_LABELS = {
    FINISHED: "info",
    BatchState.RUNNING: "success",
    BatchState.PAUSED: "warning",
    BatchState.CANCELLED: "danger",
}
#: What the page of a batch has chosen, apart from the bookings.
_KEPT = ("nonce", "sender", "plain", "reminder")
#: Of those who are left out, on one page.
_LEFT_OUT_SHOWN = 500
_TURNS = {
    "pause": (
        batches.pause_batch,
        "Paused. No messages go out until you resume.",
    ),
    "resume": (batches.resume_batch, "Resumed."),
    "cancel": (
        batches.cancel_batch,
        "Cancelled. Customers who were already notified can still reply.",
    ),
}


@admin.register(Batch)
class BatchAdmin(OwnPages, HistoryAdminMixin, KeptAdmin):
    empty_says = (
        "No bulk messages yet. Select bookings in their list and choose “Notify customers”."
    )
    started_at = moment_column("created_at", "started")
    by = user_column("user", "by")
    list_display = ["title", "started_at", "by", "state_shown", "bookings", "asked", "waiting"]
    list_display += ["left_out"]
    list_select_related = ["user"]
    list_filter = [BatchStateFilter, "created_at", "user"]
    list_per_page = 20
    search_fields = ["name", "user__username"]
    search_help_text = "Source of the bookings, or who started it"

    class Media:
        css = {"all": ["bookings/batches.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("bookings.notify_booking")

    # The list

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        keys = [batch.pk for batch in rows]
        counts, finished = progress.count_entries(keys), progress.finished(keys)
        for batch in rows:
            batch.progress = counts.get(batch.pk, progress.Progress())
            batch.progress.is_finished = batch.pk in finished
        shown.result_list = rows
        return shown

    @display(description="batch", ordering="pk")
    def title(self, batch: Any) -> str:
        return capfirst(visible(str(batch)))

    @display(description="state", ordering="state", label=_LABELS)
    def state_shown(self, batch: Any) -> tuple[str, str]:
        if batch.progress.is_finished:
            return FINISHED, FINISHED
        return batch.state, batch.get_state_display()

    @display(description="bookings")
    def bookings(self, batch: Any) -> int:
        return int(batch.progress.total)

    @display(description="notified")
    def asked(self, batch: Any) -> int:
        return int(batch.progress.asked)

    @display(description="not sent yet")
    def waiting(self, batch: Any) -> int:
        return int(batch.progress.waiting)

    @display(description="not texted")
    def left_out(self, batch: Any) -> int:
        return int(batch.progress.left_out)

    # Starting one

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """What it would come to; with the nonce of that page, and its main button, the start."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        chosen = picked(request.POST if request.method == "POST" else request.GET)
        if problem := chosen.problem(batches.MOST_BOOKINGS):
            self.message_user(request, problem, messages.WARNING)
            return redirect("admin:bookings_booking_changelist")
        if "left_out" in request.POST:
            return self._left_out(request, chosen)
        nonce = request.POST.get("nonce", "")
        is_confirmed = request.POST.get("confirmed") == "yes" and NONCE.fullmatch(nonce)
        if is_confirmed and request.POST.get("sender") in senders():
            is_as_shown = request.POST.get("shown", chosen.word) == chosen.word
            if is_as_shown or Batch.objects.filter(nonce=nonce).exists():
                return self._start(request, chosen)
            sentence = "Nothing was sent: the selection changed since the page was opened. Reload and check."
            self.message_user(request, sentence, messages.WARNING)
        return self.confirmation(request, chosen)

    def confirmation(self, request: HttpRequest, chosen: Picked) -> HttpResponse:
        """The page that shows everything before anything is sent."""
        numbers = senders()
        sender = request.POST.get("sender", "")
        sender = sender if sender in numbers else numbers[0]
        is_plain = request.POST.get("plain") == "yes"
        nonce = request.POST.get("nonce", "")
        return self.own_page(
            request,
            "batch/confirm.html",
            "Notify customers",
            subtitle=capfirst(chosen.name),
            chosen=chosen,
            found=preview_batch(chosen.bookings, sender=sender, is_plain=is_plain),
            is_plain=is_plain,
            with_reminder=request.POST.get("reminder") == "yes",
            nonce=nonce if NONCE.fullmatch(nonce) else new_nonce(),
            sender=sender,
            caps={"hour": settings.SMS_PER_NUMBER_HOUR, "day": settings.SMS_PER_NUMBER_DAY},
            senders=[(number, show_our_number(number)) for number in numbers],
        )

    def _left_out(self, request: HttpRequest, chosen: Picked) -> HttpResponse:
        """All who would not be texted for one reason. The way back leads to the page as it was."""
        reason = request.POST["left_out"]
        rows = dict(list_left_out(chosen.bookings)).get(reason, [])
        kept = {name: request.POST[name] for name in _KEPT if name in request.POST}
        return self.own_page(
            request,
            "batch/left_out.html",
            "Notify customers",
            subtitle=capfirst(chosen.name),
            reason=reason,
            rows=Paginator(rows, _LEFT_OUT_SHOWN).get_page(request.POST.get("page")),
            kept=[chosen.field, *kept.items()],
        )

    def _start(self, request: HttpRequest, chosen: Picked) -> HttpResponse:
        user: Any = request.user
        batch = batches.start_batch(
            chosen.bookings,
            nonce=request.POST["nonce"],
            user=user,
            sender=request.POST["sender"],
            name=chosen.name,
            is_plain=request.POST.get("plain") == "yes",
            with_reminder=request.POST.get("reminder") == "yes",
        )
        return redirect("admin:bookings_batch_change", batch.pk)

    # One batch

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        batch = self.get_object(request, object_id)
        if batch is None:
            return redirect("admin:bookings_batch_changelist")
        found = progress.of(batch)
        return self.own_page(
            request,
            "batch/progress.html",
            "Batch",
            subtitle=capfirst(visible(str(batch))),
            original=batch,
            batch=batch,
            progress=found,
            state=FINISHED if found.is_finished else batch.get_state_display(),
            quiet_until=_quiet_until(),
            may_turn=self.has_add_permission(request),
            sender=show_our_number(batch.sender),
        )

    def get_urls(self) -> list[URLPattern]:
        turns = [
            self.own_path(f"<int:pk>/{word}/", partial(self.turn_view, word=word), word)
            for word in _TURNS
        ]
        return [*turns, *super().get_urls()]

    def turn_view(self, request: HttpRequest, pk: int, word: str) -> HttpResponse:
        """Pause, resume or cancel. Twice does nothing the second time."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        turn, sentence = _TURNS[word]
        batch = get_object_or_404(Batch, pk=pk)
        if turn(batch, user):
            self.message_user(request, sentence, messages.SUCCESS)
        else:
            is_finished = progress.finished([pk])
            now = FINISHED if is_finished else Batch.objects.get(pk=pk).get_state_display()
            self.message_user(request, f"No change: the batch is already {now}.", messages.INFO)
        return redirect(reverse("admin:bookings_batch_change", args=[pk]))


@admin.register(BatchEntry)
class BatchEntryAdmin(HistoryAdminMixin, KeptAdmin):
    """The bookings of batches: who was asked, and who not and why."""

    empty_says = "No batches yet."
    booking_link = booking_link
    settled = moment_column("settled_at", "handled")
    why = name_column("left_out", "not texted because")
    fields = ["batch", "booking_link", "settled", "why"]
    list_display = ["row", "batch_link", "booking_link", "notification_shown", "settled", "why"]
    list_display_links = ["row"]
    list_select_related = ["batch", "booking", "notification__booking"]
    list_filter = [("left_out", admin.EmptyFieldListFilter)]
    phone_fields = ("booking__msisdn",)
    search_fields = ["booking__reference", "left_out"]
    search_help_text = "Reference, phone number or reason"

    @display(description="row", ordering="pk")
    def row(self, entry: BatchEntry) -> int:
        return entry.pk

    @display(description="batch", ordering="batch")
    def batch_link(self, entry: BatchEntry) -> str:
        address = reverse("admin:bookings_batch_change", args=[entry.batch_id])
        return format_html('<a class="link" href="{}">{}</a>', address, visible(str(entry.batch)))

    @display(description="notification")
    def notification_shown(self, entry: BatchEntry) -> str:
        if entry.notification is None:
            return "" if entry.settled_at else "not sent yet"
        address = reverse("admin:bookings_notification_change", args=[entry.notification_id])
        state = entry.notification.get_state_display()
        return format_html('<a class="link" href="{}">{}</a>', address, state)


def _quiet_until() -> str:
    """When the quiet hours end, on a clock; "" outside of them."""
    if settings.QUIET_HOURS is None or not is_quiet(timezone.now()):
        return ""
    return f"{settings.QUIET_HOURS[1]:%H:%M}"

"""Bookings: what dispatch works with, and the story of each."""

from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from bookings.admin.batches.selection import ticked
from bookings.admin.bookings.form import BookingForm
from bookings.admin.bookings.move_many import MovingMixin
from bookings.admin.bookings.not_informed import UnawareMixin
from bookings.admin.shared.columns import (
    OUTCOME_LABELS,
    STATE_LABELS,
    name_column,
    number_column,
    slot_column,
    what_was_answered,
)
from bookings.admin.shared.counted_filters import StageFilter
from bookings.admin.shared.day_filters import BookingDayFilter
from bookings.admin.shared.exporting import ExportMixin
from bookings.admin.shared.filters import AskedFilter, DayFilter, ManifestFilter, coming_first
from bookings.admin.shared.model_admins import KeptAdmin
from bookings.dispatch.bookings import CannotBook
from bookings.dispatch.notices import CannotTell
from bookings.models import (
    Batch,
    Booking,
    BookingState,
    Kind,
    MessageState,
    OutboundMessage,
    Outcome,
    lock_customer,
)
from bookings.models.fields import parse_msisdn
from bookings.notifications import batches
from bookings.notifications.asking import lock_texts
from bookings.reporting import timeline

_STATE_LABELS = {BookingState.SCHEDULED: "info", BookingState.CANCELLED: "danger"}


@admin.register(Booking)
class BookingAdmin(MovingMixin, UnawareMixin, ExportMixin, KeptAdmin):
    empty_says = "Import a manifest (a spreadsheet), use the notify form, or choose “Add booking”."
    form = BookingForm
    list_display = [
        *("reference_shown", "customer_shown", "phone", "slot_shown"),
        *("state_shown", "sms", "answer"),
    ]
    list_select_related = ["slot"]
    list_filter = [
        *(DayFilter.on("slot__date"), BookingDayFilter, AskedFilter, StageFilter),
        *("state", "slot__place", ManifestFilter),
    ]
    phone_fields = ("msisdn",)
    search_fields = ["reference", "customer_name"]
    search_help_text = "Reference, name or phone number"
    actions = ["notify_customers", "move_bookings", "cancel_bookings", "export_csv", "export_xlsx"]
    reference_shown = name_column("reference", "reference")
    customer_shown = name_column("customer_name", "customer name")
    phone = number_column("phone number")
    slot_shown = slot_column("slot", "slot")

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        of_it = {"booking": OuterRef("pk")}
        asked = OutboundMessage.objects.filter(kind=Kind.NOTIFICATION, **of_it).order_by("-pk")
        bookings: QuerySet[Any] = super().get_queryset(request)
        told: QuerySet[Any] = bookings.annotate(
            sms_state=Subquery(asked.values("state")[:1]),
            answer_outcome=what_was_answered(**of_it),
        )
        return told

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [*coming_first("slot__date"), "slot__window_start", "reference"]

    @display(description="state", ordering="state", label=_STATE_LABELS)
    def state_shown(self, booking: Booking) -> tuple[str, str]:
        return booking.state, booking.get_state_display()

    @display(description="notified", label=STATE_LABELS)
    def sms(self, booking: Any) -> tuple[str, str] | None:
        state = booking.sms_state
        return (state, MessageState(state).label) if state else None

    @display(description="reply", label=OUTCOME_LABELS)
    def answer(self, booking: Any) -> tuple[str, str] | None:
        outcome = booking.answer_outcome
        return (outcome, Outcome(outcome).label) if outcome else None

    # One booking

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        if obj is None:
            return ["reference", "customer_name", "msisdn", "slot", "language", "notes"]
        if self.has_change_permission(request, obj):
            what = [
                "customer_name",
                "phone",
                "msisdn",
                "slot",
                "language",
                "notes",
                "cancelled",
                "told",
            ]
            return ["reference_shown", *what]
        return ["reference_shown", "customer_shown", "phone", "slot", "language", "notes", "state"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        # The reference is printed in texts, and what an import knows a booking by.
        return ["reference_shown", "phone"] if obj else []

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """When it is going to be changed: as it stands with the locks taken of its customer, and of the one it gets.

        Both at once, and so their texts: one after the other could be a deadlock.
        """
        booking = super().get_object(request, object_id, from_field)
        if booking is not None and request.method == "POST" and connection.in_atomic_block:
            numbers = booking.msisdn, *_number_in(request)
            lock_customer(*numbers)
            lock_texts([booking], *numbers)
            return super().get_object(request, object_id, from_field)
        return booking

    def get_form(self, request: HttpRequest, obj: Any = None, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, *args, **kwargs)
        form.refused, form.user = getattr(request, "refused", ""), request.user
        return form

    def changeform_view(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Dispatch may refuse what a form asks for: then nothing is stored, and the form says why."""
        try:
            page: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except (CannotBook, CannotTell) as error:
            request.refused = str(error)
            page = super().changeform_view(request, *args, **kwargs)
        return page

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if change:
            form.carry_out(request.user)
            if form.is_to_be_told:
                self.message_user(request, form.not_told(), messages.WARNING)
        else:
            obj.pk = form.book().pk
        obj.refresh_from_db()

    def construct_change_message(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        add: bool = False,  # noqa: FBT001, FBT002  # Django's
    ) -> Any:
        return (
            super().construct_change_message(request, form, formsets, add) if add else form.said()
        )

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        return super().log_change(request, obj, message) if message else None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        booking = kwargs.get("obj")
        if booking is not None:
            steps = timeline.timeline(booking)
            context |= {
                "steps": steps,
                "why": timeline.why(steps),
                "may_notify": self.has_notify_permission(request),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # Asking customers

    def has_notify_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.notify_booking")

    @admin.action(description="Notify customers …", permissions=["notify"])
    def notify_customers(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Show who will be texted what, and who not and why: the page of a new batch."""
        most = batches.MOST_BOOKINGS
        keys = list(queryset.order_by("pk").values_list("pk", flat=True)[: most + 1])
        chosen = ticked(keys)
        if problem := chosen.problem(most):
            self.message_user(request, problem, messages.WARNING)
            return None
        admin_of_batches: Any = self.admin_site.get_model_admin(Batch)
        page: HttpResponse = admin_of_batches.confirmation(request, chosen)
        return page


def _number_in(request: HttpRequest) -> list[str]:
    """The phone number in a form that is none if it cannot be read: then the form says so."""
    with suppress(ValidationError):
        return [parse_msisdn(request.POST.get("msisdn", ""))]
    return []

"""Needs attention: the queue of what the machine must not guess, the oldest first."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timesince import timesince
from unfold.decorators import display

from bookings.admin.shared.columns import booking_link, number_column, show_slot, show_text
from bookings.admin.shared.filters import DayFilter
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.admin.tickets.page import Attending
from bookings.models import Ticket, TicketKind
from bookings.reporting.timeline import moment, visible
from bookings.reporting.timeline.steps import full_name

_LISTED = 160
KIND_LABELS = {
    **dict.fromkeys(TicketKind, "warning"),
    **dict.fromkeys([TicketKind.BROKEN, TicketKind.SUSPICIOUS, TicketKind.NOT_SENT], "danger"),
    **dict.fromkeys([TicketKind.UNKNOWN, TicketKind.NO_RECEIPT], "info"),
}


class WaitingFilter(admin.SimpleListFilter):
    """What waits, unless somebody asks for what was settled."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "open"), ("settled", "closed")]

    def choices(self, changelist: Any) -> Any:
        """Without "all": without a choice it shows what waits."""
        choices = list(super().choices(changelist))[1:]
        choices[0]["selected"] = self.value() != "settled"
        return choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(settled_at__isnull=self.value() != "settled")


class OwnerFilter(admin.SimpleListFilter):
    title = "assignee"
    parameter_name = "owned"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("mine", "assigned to me"),
            ("nobody", "unassigned"),
            ("others", "assigned to others"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {
            "mine": Q(owner=request.user.pk),
            "nobody": Q(owner=None),
            "others": Q(owner__isnull=False) & ~Q(owner=request.user.pk),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


@admin.register(Ticket)
class TicketAdmin(Attending, HistoryAdminMixin, KeptAdmin):
    empty_says = "Nothing needs attention. Unclear or late replies and failed messages appear here."
    list_display = ["what", "words", "phone", "delivery", "age", "owner_shown"]
    list_display_links = ["what"]
    list_select_related = ["booking__slot", "inbound", "outbound", "owner", "settled_by"]
    list_filter = [WaitingFilter, "kind", OwnerFilter, DayFilter.on("booking__slot__date")]
    ordering = ["raised_at", "pk"]
    show_full_result_count = False
    phone_fields = ("msisdn",)
    search_fields = ["booking__reference"]
    search_help_text = "Reference, phone number or its last four digits"
    phone = number_column("phone number")

    class Media:
        css = {"all": ["bookings/tickets.css"]}

    @display(description="reason", ordering="kind")
    def what(self, ticket: Ticket) -> str:
        return format_html(
            '<span class="kind kind-{}">{}</span><div class="detail">{}</div>',
            KIND_LABELS[TicketKind(ticket.kind)],
            ticket.get_kind_display(),
            visible(ticket.reason),
        )

    @display(description="message")
    def words(self, ticket: Ticket) -> str | None:
        if ticket.inbound is not None:
            return show_text(Truncator(ticket.inbound.said).chars(_LISTED) or "(empty)")
        if ticket.outbound is not None:
            text = Truncator(ticket.outbound.text).chars(_LISTED)
            return format_html('<div class="detail">Our message: {}</div>', show_text(text))
        return None

    @display(description="delivery", ordering="booking__slot__date")
    def delivery(self, ticket: Ticket) -> str:
        booking = ticket.booking
        if booking is None:
            return "No delivery found"
        state = "" if booking.is_scheduled else format_html('<div class="detail">cancelled</div>')
        return format_html("{}{}{}", booking_link(self, ticket), show_slot(booking.slot), state)

    @display(description="waiting since", ordering="raised_at")
    def age(self, ticket: Ticket) -> str:
        return format_html(
            '<span class="moment">{}</span><div class="detail">{}</div>',
            timesince(ticket.raised_at, ticket.settled_at, depth=1),
            moment(ticket.raised_at),
        )

    @display(description="assigned to", ordering="owner__username")
    def owner_shown(self, ticket: Ticket) -> str:
        if ticket.settled_at is not None:
            by = full_name(ticket.settled_by)
            return format_html(
                '{}<div class="detail">{}</div>',
                by or "the system",
                ticket.get_settlement_display(),
            )
        return full_name(ticket.owner) or "Unassigned"

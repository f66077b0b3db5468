"""The notifications put to customers."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html_join
from unfold.admin import TabularInline
from unfold.decorators import display

from bookings.admin.shared.columns import (
    OUTCOME_LABELS,
    STATE_LABELS,
    booking_link,
    customer_and_booking,
    moment_column,
    number_column,
    our_number_column,
    slot_column,
    user_column,
    what_was_answered,
)
from bookings.admin.shared.model_admins import HistoryAdminMixin
from bookings.admin.shared.searching import NEWEST, LongListAdmin
from bookings.models import (
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    SlotOption,
)

NOTIFICATION_LABELS = {
    NotificationState.OPEN: "success",
    NotificationState.CLOSED: "info",
    NotificationState.WITHDRAWN: "warning",
}


class OptionInline(HistoryAdminMixin, TabularInline):
    model = SlotOption
    extra = 0
    fields = readonly_fields = ["digit", "words", "slot", "is_held"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        options: QuerySet[Any] = super().get_queryset(request)
        return options.select_related("slot", "notification")


@admin.register(Notification)
class NotificationAdmin(HistoryAdminMixin, LongListAdmin):
    older_words = "Search the message lists for older ones."
    empty_says = (
        "No notifications yet. Select bookings in their list and choose “Notify customers”,"
        " or use the notify form."
    )
    asked_at = moment_column("created_at", "created")
    open_until = moment_column("closes_at", "reply until")
    handed_over = moment_column("handed_over_at", "sent")
    ended_at = moment_column("closed_at", "closed")
    phone = number_column("phone number")
    sent_from = our_number_column("virtual_number", "from")
    by = user_column("asked_by", "sent by")
    booking_link = booking_link
    customer = customer_and_booking
    slot_shown = slot_column("slot", "slot when sent")
    fields = [
        *("booking_link", "phone", "sent_from", "slot", "state", "withdrawn_because"),
        *("asked_at", "handed_over", "open_until", "ended_at", "by"),
    ]
    inlines = [OptionInline]
    list_display = [
        *("asked_at", "customer", "slot_shown", "options_shown"),
        *("state_shown", "sms", "answer", "by"),
    ]
    list_display_links = ["asked_at"]
    list_select_related = ["booking", "slot", "asked_by"]
    list_filter = ["state", "slot__place", "created_at", "asked_by"]
    date_hierarchy = "created_at"
    phone_fields = ("msisdn",)
    search_fields = ["booking__reference", "booking__customer_name", "outbound_messages__text"]
    search_help_text = f"Phone number, name, reference, or words of the newest {NEWEST:,} texts"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        of_it = {"notification": OuterRef("pk")}
        sent = OutboundMessage.objects.filter(kind=Kind.NOTIFICATION, **of_it).order_by("-pk")
        notifications: QuerySet[Any] = super().get_queryset(request)
        told: QuerySet[Any] = notifications.prefetch_related("options").annotate(
            sms_state=Subquery(sent.values("state")[:1]),
            answer_outcome=what_was_answered(**of_it),
        )
        return told

    @display(description="options")
    def options_shown(self, notification: Notification) -> str:
        options = [(option.digit, option.words) for option in notification.options.all()]
        return format_html_join("", '<div class="option">{} <bdi>{}</bdi></div>', options) or "none"

    @display(description="state", ordering="state", label=NOTIFICATION_LABELS)
    def state_shown(self, notification: Notification) -> tuple[str, str]:
        return notification.state, notification.get_state_display()

    @display(description="SMS", label=STATE_LABELS)
    def sms(self, notification: Any) -> tuple[str, str] | None:
        state = notification.sms_state
        return (state, MessageState(state).label) if state else None

    @display(description="reply", label=OUTCOME_LABELS)
    def answer(self, notification: Any) -> tuple[str, str] | None:
        outcome = notification.answer_outcome
        return (outcome, Outcome(outcome).label) if outcome else None

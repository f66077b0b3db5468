"""Every SMS out and in, each try to hand one over, and its receipts."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.admin import TabularInline
from unfold.decorators import display

from bookings.admin.messages.costs import CostsPage
from bookings.admin.messages.mending import HeldTexts, UndecidedTexts
from bookings.admin.messages.reply_history import ReplyHistory
from bookings.admin.messages.try_reply import TryReplies
from bookings.admin.shared.columns import (
    OUTCOME_LABELS,
    STATE_LABELS,
    booking_link,
    customer_and_booking,
    in_reply_to_link,
    listed_text_column,
    moment_column,
    number_column,
    our_number_column,
    show_slot,
    show_text,
    text_column,
    user_column,
)
from bookings.admin.shared.counted_filters import CountryFilter
from bookings.admin.shared.day_filters import QueuedFilter, ReceivedFilter
from bookings.admin.shared.exporting import ExportMixin
from bookings.admin.shared.filters import ParkedFilter, StuckFilter, ValueFilter
from bookings.admin.shared.model_admins import HistoryAdminMixin
from bookings.admin.shared.paging import CappedPaginator
from bookings.admin.shared.searching import NEWEST, LongListAdmin
from bookings.models import DeliveryReceipt, InboundMessage, OutboundMessage, SendAttempt
from bookings.reporting.masking import masked_payload
from bookings.reporting.timeline import has_arrived, moment, visible

GATEWAYS = ValueFilter.of("gateway", "gateway", ["simulator", "vonage"])
STATUSES = ValueFilter.of(
    "status",
    "status",
    ["accepted", "buffered", "delivered", "expired", "failed", "rejected", "unknown"],
)
#: Vonage's, of delivery receipts; the carrier's own are looked for by the search.
ERROR_CODES = ValueFilter.of("err_code", "error code", map(str, [*range(16), 39, 41, 50, 99]))


class AttemptInline(HistoryAdminMixin, TabularInline):
    model = SendAttempt
    extra = 0
    verbose_name_plural = "send attempts"
    called_at = moment_column("call_started_at", "call started")
    settled = moment_column("settled_at", "settled")
    fields = readonly_fields = [
        *("number", "called_at", "settled", "verdict", "code", "reason"),
        *("state", "client_ref", "parts_shown", "receipts_shown"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        attempts: QuerySet[Any] = super().get_queryset(request)
        return attempts.select_related("message").prefetch_related("parts", "receipts")

    @display(description="gateway message ids")
    def parts_shown(self, attempt: SendAttempt) -> str:
        return format_html_join(
            " ", "{}", [(part.gateway_message_id,) for part in attempt.parts.all()]
        )

    @display(description="receipts")
    def receipts_shown(self, attempt: SendAttempt) -> str:
        said = [
            (moment(row.received_at), row.status, row.err_code) for row in attempt.receipts.all()
        ]
        return format_html_join("", "<div>{} {} {}</div>", said)


@admin.register(OutboundMessage)
class OutboundMessageAdmin(CostsPage, HeldTexts, ExportMixin, HistoryAdminMixin, LongListAdmin):
    empty_says = "No messages yet. They appear here when customers are notified or answered."
    queued = moment_column("queued_at", "queued")
    due = moment_column("due_at", "due")
    true_until = moment_column("valid_until", "expires")
    phone = number_column("to")
    sent_from = our_number_column("sender", "from")
    by = user_column()
    text_shown = text_column("text", "text")
    text_listed = listed_text_column("text", "text")
    reason_listed = listed_text_column("reason", "reason")
    booking_link = booking_link
    customer = customer_and_booking
    in_reply_to_link = in_reply_to_link
    fields = [
        *("arrived", "queued", "kind", "booking_link", "phone", "sent_from", "text_shown", "parts"),
        *("state", "reason", "due", "true_until", "gateway", "in_reply_to_link", "by", "ref"),
    ]
    inlines = [AttemptInline]
    paginator = CappedPaginator
    show_full_result_count = False
    list_display = [
        *("queued", "customer", "kind", "text_listed"),
        *("state_shown", "reason_listed"),
    ]
    list_display_links = ["queued"]
    list_select_related = ["booking"]
    actions = ["release_held", "drop_held", "export_csv", "export_xlsx"]
    list_filter = [QueuedFilter, StuckFilter, "state", "kind", GATEWAYS, CountryFilter]
    phone_fields = ("msisdn",)
    search_fields = [
        *("=ref", "=attempts__client_ref", "=attempts__parts__gateway_message_id"),
        *("booking__reference", "booking__customer_name", "text"),
    ]
    search_help_text = (
        "Phone number, name, reference, gateway message id, client-ref, or words of the newest"
        f" {NEWEST:,} texts"
    )

    @display(description="delivered?")
    def arrived(self, message: OutboundMessage) -> str:
        return has_arrived(message)

    @display(description="state", ordering="state", label=STATE_LABELS)
    def state_shown(self, message: OutboundMessage) -> tuple[str, str]:
        return message.state, message.get_state_display()


@admin.register(InboundMessage)
class InboundMessageAdmin(
    TryReplies, ReplyHistory, UndecidedTexts, ExportMixin, HistoryAdminMixin, LongListAdmin
):
    empty_says = (
        "No replies yet. Link the inbound webhook to your number, or reply in the simulator."
    )
    received = moment_column("received_at", "received")
    pushed = moment_column("sent_at", "sent by the gateway")
    phone = number_column("from")
    sent_to = our_number_column("virtual_number", "to")
    text_shown = text_column("text", "text")
    whole_shown = text_column("whole", "complete long message")
    attention_shown = text_column("attention", "needs attention")
    booking_link = booking_link
    customer = customer_and_booking
    fields = [
        *(
            "received",
            "pushed",
            "phone",
            "sent_to",
            "text_shown",
            "whole_shown",
            "try_link",
            "type",
            "how_read",
        ),
        *("outcome", "attention_shown", "moved", "booking_link", "notification", "option"),
        *(
            "answers_shown",
            "gateway_message_id",
            "part_ref",
            "part_number",
            "part_total",
            "came_as",
        ),
    ]
    guarded_fields = {"came_as": "bookings.view_deliveryreceipt"}
    list_display = [
        *("received", "customer", "words", "how_read", "outcome_shown", "moved", "answered"),
    ]
    list_display_links = ["received"]
    list_select_related = ["booking", "ticket"]
    actions = ["run_again", "export_csv", "export_xlsx"]
    phone_fields = ("msisdn",)
    search_fields = [
        *("=gateway_message_id", "booking__reference", "booking__customer_name", "text"),
    ]
    search_help_text = (
        "Phone number, name, reference, gateway message id, or words of the newest"
        f" {NEWEST:,} texts"
    )

    @display(description="outcome", ordering="outcome", label=OUTCOME_LABELS)
    def outcome_shown(self, inbound: InboundMessage) -> tuple[str, str]:
        return inbound.outcome, inbound.get_outcome_display() or "not processed yet"

    @display(description="how read", ordering="reading")
    def how_read(self, inbound: InboundMessage) -> str | None:
        if not inbound.reading:
            return None
        return format_html(
            "{}<div class=detail>rule: {}</div><div class=detail>matched: {}</div>",
            inbound.reading,
            inbound.rule or "-",
            show_text(inbound.matched) if inbound.matched else "-",
        )

    @display(description="before and after")
    def moved(self, inbound: InboundMessage) -> str | None:
        rows = [
            (show_slot(change.from_slot), show_slot(change.to_slot))
            for change in inbound.slot_changes.all()
        ]
        return format_html_join("", "{}→ {}", rows) or None

    @display(description="answered with")
    def answers_shown(self, inbound: InboundMessage) -> str | None:
        return (
            format_html_join("", "{}", [(show_text(m.text),) for m in inbound.answers.all()])
            or None
        )

    @display(description="raw payload")
    def came_as(self, inbound: InboundMessage) -> str:
        return show_text(masked_payload(inbound, ours=inbound.virtual_number))


@admin.register(DeliveryReceipt)
class DeliveryReceiptAdmin(HistoryAdminMixin, LongListAdmin):
    empty_says = "No receipts yet. Vonage sends them once the delivery receipt webhook is set in its dashboard."
    received = moment_column("received_at", "received")
    pushed = moment_column("sent_at", "sent by the gateway")
    phone = number_column("customer")
    status_shown = text_column("status", "status")
    fields = [
        *("received", "pushed", "phone", "status_shown", "err_code", "message_shown", "text_shown"),
        *("gateway_message_id", "client_ref", "price", "network_code", "scts", "came_as"),
    ]
    list_display = [
        *("received", "phone", "status_shown", "err_code", "booking_shown", "message_shown"),
        *("ids_shown", "price_shown"),
    ]
    list_display_links = ["received"]
    list_select_related = ["attempt__message__booking"]
    paginator = CappedPaginator
    show_full_result_count = False
    list_filter = [ReceivedFilter, ParkedFilter, STATUSES, ERROR_CODES]
    phone_fields = ("msisdn",)
    search_fields = [
        *("=gateway_message_id", "=client_ref", "attempt__message__booking__reference"),
    ]
    search_help_text = "Phone number, name, reference, gateway message id or client-ref"

    @display(description="message id, client ref", ordering="gateway_message_id")
    def ids_shown(self, receipt: DeliveryReceipt) -> str:
        return format_html(
            '{}<div class="detail">{}</div>',
            visible(receipt.gateway_message_id),
            visible(receipt.client_ref),
        )

    @display(description="price, network", ordering="price")
    def price_shown(self, receipt: DeliveryReceipt) -> str:
        return format_html(
            '{}<div class="detail">{}</div>',
            visible(str(receipt.price)),
            visible(receipt.network_code),
        )

    @display(description="booking", ordering="attempt__message__booking__reference")
    def booking_shown(self, receipt: DeliveryReceipt) -> str | None:
        return booking_link(self, receipt.attempt.message) if receipt.attempt else None

    @display(description="about")
    def message_shown(self, receipt: DeliveryReceipt) -> str:
        return (
            receipt.attempt.message.get_kind_display() if receipt.attempt else "no matching message"
        )

    @display(description="text")
    def text_shown(self, receipt: DeliveryReceipt) -> str | None:
        return show_text(receipt.attempt.message.text) if receipt.attempt else None

    @display(description="raw payload")
    def came_as(self, receipt: DeliveryReceipt) -> str:
        sender = receipt.attempt.message.sender if receipt.attempt else ""
        return show_text(masked_payload(receipt, ours=sender))

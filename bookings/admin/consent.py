"""Who opted out or in again, and by which words."""

from django.contrib import admin
from unfold.decorators import display

from bookings.admin.columns import (
    inbound_link,
    listed_text_column,
    moment_column,
    number_column,
    text_column,
    user_column,
)
from bookings.admin.mixins import HistoryAdminMixin, KeptAdmin
from bookings.models import ConsentChange


@admin.register(ConsentChange)
class ConsentChangeAdmin(HistoryAdminMixin, KeptAdmin):
    empty_says = "Nobody has opted out of the company's texts."
    changed_at = moment_column("created_at", "changed")
    phone = number_column("phone number")
    by = user_column()
    inbound_link = inbound_link
    words_shown = text_column("words", "words")
    words_listed = listed_text_column("words", "words")
    fields = [
        *("changed_at", "phone", "is_opted_out", "words_shown", "inbound_link", "receipt", "by"),
    ]
    guarded_fields = {"receipt": "bookings.view_deliveryreceipt"}
    list_display = ["changed_at", "phone", "consent", "words_listed", "by"]
    list_select_related = ["user"]
    list_filter = ["is_opted_out", "created_at"]
    date_hierarchy = "created_at"
    phone_fields = ("msisdn",)
    search_fields = ["words"]
    search_help_text = "Phone number, or words"

    @display(description="from then on", label={"out": "danger", "in": "success"})
    def consent(self, change: ConsentChange) -> tuple[str, str]:
        return ("out", "opted out") if change.is_opted_out else ("in", "may be texted")

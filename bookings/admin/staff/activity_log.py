"""What members of staff did: who looked at which number, exported what, and kept the sending going."""

from django.contrib import admin

from bookings.admin.shared.columns import (
    booking_link,
    moment_column,
    name_column,
    number_column,
    user_column,
)
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.models import StaffAct


@admin.register(StaffAct)
class StaffActAdmin(HistoryAdminMixin, KeptAdmin):
    """Who looked at this number last month: search for the number, filter by what was done and by month."""

    empty_says = "No activity yet."
    done_at = moment_column("created_at", "when")
    by = user_column("user", "user")
    phone = number_column("phone number")
    booking_link = booking_link
    details_shown = name_column("details", "details")
    fields = ["done_at", "by", "kind", "phone", "booking_link", "details_shown"]
    list_display = ["done_at", "by", "kind", "phone", "booking_link", "details_shown"]
    list_display_links = ["done_at"]
    list_select_related = ["user", "booking"]
    list_filter = ["kind", "created_at", "user"]
    date_hierarchy = "created_at"
    phone_fields = ("msisdn",)
    search_fields = ["user__username", "booking__reference", "details"]
    search_help_text = "Phone number or its last four digits, user, reference or details"

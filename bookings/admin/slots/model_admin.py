"""Slots: how many deliveries fit, and how many there are."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import F, Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from bookings.admin.shared.columns import (
    booking_link,
    inbound_link,
    moment_column,
    show_day,
    slot_column,
    user_column,
)
from bookings.admin.shared.filters import DayFilter, coming_first
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.admin.shared.searching import NEWEST, LongListAdmin
from bookings.models import BookingState, Slot, SlotChange
from bookings.scheduling.capacity import HAS_ROOM, count_booked, with_booked


class RoomFilter(admin.SimpleListFilter):
    title = "room"
    parameter_name = "room"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("free", "with room"), ("full", "full"), ("closed", "closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "free":
                return queryset.filter(HAS_ROOM)
            case "full":
                return queryset.filter(capacity__gt=0, capacity__lte=F("load_now"))
            case "closed":
                return queryset.filter(capacity=0)
        return queryset


class SlotForm(forms.ModelForm):
    """No limit is an empty capacity, never one that was not sent."""

    def clean_capacity(self) -> int | None:
        if self.add_prefix("capacity") not in self.data:
            raise ValidationError("Enter a capacity, or leave it empty for no limit.")
        capacity: int | None = self.cleaned_data["capacity"]
        held = Slot.objects.filter(pk=self.instance.pk).locked()  # by whoever books at this moment
        load = sum(count_booked(slot) for slot in held)
        if capacity and capacity < load:
            raise ValidationError(
                f"{load} deliveries are booked: move some first, or enter 0 to close the slot."
            )
        return capacity


@admin.register(Slot)
class SlotAdmin(KeptAdmin):
    """Once made, only its capacity can change: whoever is in it was told its day and window."""

    empty_says = "Generate slots from the weekly pattern, import a manifest, or choose “Add slot”."
    list_before_template = "admin/bookings/slot/weeks_hint.html"
    form = SlotForm
    list_display = ["day", "window", "place", "capacity_shown", "deliveries", "room"]
    list_filter = [DayFilter.on("date"), "place", RoomFilter]
    date_hierarchy = "date"
    search_fields = ["bookings__reference", "bookings__customer_name"]
    search_help_text = "Reference or name of a booking"

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [*coming_first("date"), "window_start", "place"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        slots: QuerySet[Any] = super().get_queryset(request)
        loaded: QuerySet[Any] = with_booked(slots)
        return loaded

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        when = ["day", "window"] if obj else ["date", "window_start", "window_end"]
        return [*when, "place", "capacity"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["day", "window", "place"] if obj else []

    @display(description="date", ordering="date")
    def day(self, slot: Slot) -> str:
        return show_day(slot.date)

    @display(description="window", ordering="window_start")
    def window(self, slot: Slot) -> str:
        return slot.window

    @display(description="capacity", ordering="capacity")
    def capacity_shown(self, slot: Slot) -> str:
        return "no limit" if slot.capacity is None else str(slot.capacity)

    @display(description="deliveries", ordering="load_now")
    def deliveries(self, slot: Any) -> str:
        address = reverse("admin:bookings_booking_changelist")
        return format_html(
            '<a class="link" href="{}?slot__id__exact={}&amp;state__exact={}">{}</a>',
            *(address, slot.pk, BookingState.SCHEDULED.value, slot.load_now),
        )

    @display(description="room", label={"closed": "danger", "full": "warning", "free": "success"})
    def room(self, slot: Any) -> tuple[str, str]:
        if slot.capacity is None:
            return "free", "free"
        free = slot.capacity - slot.load_now
        if slot.capacity == 0:
            return "closed", "closed"
        return ("full", "full") if free <= 0 else ("free", f"{free} free")


@admin.register(SlotChange)
class SlotChangeAdmin(HistoryAdminMixin, LongListAdmin):
    older_words = "Search the message lists for older ones."
    empty_says = "No deliveries moved yet. Moves by replies, by staff and by imports appear here."
    moved_at = moment_column("created_at", "moved")
    booking_link = booking_link
    inbound_link = inbound_link
    fields = ["moved_at", "booking_link", "from_slot", "to_slot", "cause", "by", "inbound_link"]
    by = user_column()
    slot_before = slot_column("from_slot", "before")
    slot_after = slot_column("to_slot", "after")
    list_display = ["moved_at", "booking_link", "slot_before", "slot_after", "cause", "by"]
    list_display_links = ["moved_at"]
    list_select_related = ["booking", "from_slot", "to_slot", "user"]
    list_filter = ["cause", "created_at"]
    date_hierarchy = "created_at"
    ordering = ["-pk"]
    phone_fields = ("booking__msisdn",)
    search_fields = ["booking__reference", "booking__customer_name", "inbound__text"]
    search_help_text = (
        f"Phone number, name, reference, or the customer's words in the newest {NEWEST:,}"
    )

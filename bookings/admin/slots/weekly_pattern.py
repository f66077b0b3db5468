"""The week's pattern and the days on which nobody delivers, and the page that makes slots of them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from unfold.decorators import display

from bookings.admin.shared.columns import name_column, show_day
from bookings.admin.shared.filters import coming_first
from bookings.admin.shared.guard import GuardedList
from bookings.admin.shared.pages import OwnPages
from bookings.models import Booking, ClosedDay, WeeklySlot
from bookings.scheduling.weekly_pattern import MOST_WEEKS, list_days, make_slots


class _PatternAdmin(GuardedList):
    """What can be changed and deleted freely: slots that were made of it stay."""

    empty_says = ""
    list_per_page = 50
    list_fullwidth = True

    class Media:
        css = {"all": ["bookings/admin.css", "bookings/manifest.css"]}

    def get_actions(self, request: HttpRequest) -> Any:
        """None: each is deleted on its own page."""
        return {}


@admin.register(WeeklySlot)
class WeeklySlotAdmin(OwnPages, _PatternAdmin):
    empty_says = "No windows yet. Add the delivery windows of each weekday."
    list_display = ["weekday", "window", "place", "capacity_shown"]
    list_filter = ["weekday", "place"]
    list_before_template = "admin/bookings/slot/weeks_hint.html"
    fields = ["weekday", "window_start", "window_end", "place", "capacity"]

    def get_urls(self) -> list[URLPattern]:
        return [self.own_path("make/", self.make_view, "make"), *super().get_urls()]

    def make_view(self, request: HttpRequest) -> HttpResponse:
        """Which slots would be made for so many weeks; posted, they are."""
        if not request.user.has_perm("bookings.add_slot"):
            raise PermissionDenied
        form = _WeeksForm(request.POST or request.GET or None)
        weeks = form.cleaned_data["weeks"] if form.is_valid() else _USUAL
        if request.method == "POST" and form.is_valid():
            count = make_slots(weeks)
            sentence = f"{count} slots generated." if count else "All slots existed already."
            self.message_user(request, sentence, messages.SUCCESS)
            return redirect("admin:bookings_slot_changelist")
        days = list_days(weeks)
        return self.own_page(
            request,
            "slot/weeks.html",
            "Generate slots",
            choices=range(1, MOST_WEEKS + 1),
            weeks=weeks,
            days=[(show_day(day.date), day) for day in days],
            count=sum(len(day.missing) for day in days),
            has_pattern=WeeklySlot.objects.exists(),
        )

    @display(description="window", ordering="window_start")
    def window(self, weekly: WeeklySlot) -> str:
        return f"{weekly.window_start:%H:%M}-{weekly.window_end:%H:%M}"

    @display(description="capacity", ordering="capacity")
    def capacity_shown(self, weekly: WeeklySlot) -> str:
        return "no limit" if weekly.capacity is None else str(weekly.capacity)


@admin.register(ClosedDay)
class ClosedDayAdmin(_PatternAdmin):
    empty_says = (
        "No closed days. Add holidays here: no slots are generated for them, and they are"
        " not offered to customers."
    )
    list_display = ["day", "reason_shown"]
    reason_shown = name_column("reason", "reason")
    fields = ["date", "reason"]

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return coming_first("date")

    @display(description="date", ordering="date")
    def day(self, closed: ClosedDay) -> str:
        return show_day(closed.date)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        super().save_model(request, obj, form, change)
        booked = _deliveries_on(obj)
        if booked:
            sentence = f"{booked} deliveries are booked that day. Move or cancel them."
            self.message_user(request, sentence, messages.WARNING)


_USUAL = 2


class _WeeksForm(forms.Form):
    weeks = forms.IntegerField(min_value=1, max_value=MOST_WEEKS)


def _deliveries_on(closed: Any) -> int:
    return Booking.objects.scheduled().on(closed.date).count()

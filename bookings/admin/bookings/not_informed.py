"""The call list: whose customers do not know of a delivery of a day, and that somebody has told them now."""

import datetime as dt
from typing import TYPE_CHECKING, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, reverse
from django.utils import timezone

from bookings.admin.shared.columns import show_day
from bookings.admin.shared.pages import OwnPages
from bookings.admin.shared.row_versions import seen_word, seen_words
from bookings.dispatch import informed, notices
from bookings.dispatch.informed import RECEIPT_WITHIN
from bookings.models import Booking
from bookings.models.schedule import EARLIEST, LATEST
from bookings.notifications.asking import lock_booking
from bookings.reporting.timeline import visible

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: Days that a link leads to, from today.
_LINKED = 5


class UnawareMixin(OwnPages):
    """The pages of the list, under the bookings."""

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("unaware/", self.unaware_view, "unaware"),
            self.own_path("<int:pk>/told/", self.told_view, "told"),
            *super().get_urls(),
        ]

    def unaware_view(self, request: HttpRequest) -> HttpResponse:
        """Every delivery that is, or was, on `?day=` (tomorrow) and whose customer was not reached."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        today = timezone.localdate()
        day = _day(request.GET.get("day", ""))
        if day is None:
            self.message_user(request, "Date not recognised. Showing tomorrow.", messages.WARNING)
        day = day or today + dt.timedelta(days=1)
        unreached = informed.list_not_informed(day)
        seen = seen_words(one.booking for one in unreached)
        return self.own_page(
            request,
            "booking/unaware.html",
            "Customers to call",
            day=day,
            day_shown=show_day(day),
            days=[_linked(today + dt.timedelta(days=ahead), today) for ahead in range(_LINKED)],
            unreached=[(one, seen[one.booking.pk]) for one in unreached],
            has_deliveries=Booking.objects.scheduled().on(day).exists(),
            may_tell=self.has_change_permission(request),
            patience=RECEIPT_WITHIN.seconds // 60,
        )

    def told_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Somebody has told this customer by phone what the list said; written down once."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        booking = get_object_or_404(Booking.objects.select_related("slot"), pk=pk)
        with transaction.atomic():
            current = lock_booking(booking)
            name = visible(current.reference)
            if request.POST.get("seen") != seen_word(current):
                now = f"on {current.slot}" if current.is_scheduled else "cancelled"
                sentence = f"{name} changed in the meantime: it is now {now}. Tell the customer."
                level = messages.WARNING
            elif not informed.is_not_informed(current):
                sentence, level = f"{name}: the customer was already reached.", messages.INFO
            else:
                notices.record_phone_call(current, cast("User", request.user))
                sentence, level = f"{name}: recorded, told by phone.", messages.SUCCESS
        self.message_user(request, sentence, level)
        day = _day(request.POST.get("day", "")) or current.slot.date
        return redirect(f"{reverse('admin:bookings_booking_unaware')}?day={day.isoformat()}")


def _linked(day: dt.date, today: dt.date) -> tuple[dt.date, str]:
    near = {0: "Today", 1: "Tomorrow"}.get((day - today).days)
    return day, f"{near}, {show_day(day)}" if near else show_day(day)


def _day(written: str) -> dt.date | None:
    """An ISO date; tomorrow for an empty one, None for what is none."""
    if not written:
        return timezone.localdate() + dt.timedelta(days=1)
    try:
        day = dt.date.fromisoformat(written)
    except ValueError:
        return None
    return day if EARLIEST <= day <= LATEST else None

"""The first page of the admin: what today and tomorrow need, how the conversation goes, how the machine stands."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from bookings.admin.dashboard.bars import Figure, age, bars, list_of, share_of
from bookings.admin.dashboard.machine import machine
from bookings.admin.shared.columns import show_day
from bookings.admin.shared.counted_filters import CHOICES_SHOWN, show_country
from bookings.dispatch.informed import count_not_informed
from bookings.models import Booking, BookingState, InboundMessage, Kind, OutboundMessage
from bookings.operations import alarms
from bookings.reporting import dashboard as figures
from bookings.reporting.timeline import visible
from bookings.scheduling.clock import midnight
from bookings.web.webhooks.views import refusals

_STAGES_SHOWN = {
    "bookings": "Deliveries",
    "asked": "Notified",
    "delivered": "Message delivered",
    "answered": "Replied",
    "moved": "Moved by the customer",
}
#: Hours that the charts of replies look back on, by `?since=`; the first unless another is asked for.
_PERIODS = {"24h": (24, "the last 24 hours"), "7d": (7 * 24, "the last 7 days")}
_FAILURES_OF, _COST_OF = dt.timedelta(days=7), dt.timedelta(days=29)


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the admin's first page with what this member of staff may see (unfold's DASHBOARD_CALLBACK)."""
    may = {name: request.user.has_perm(f"bookings.view_{name}") for name in _TABLES}
    now = timezone.now()
    is_fetch = request.headers.get("X-Requested-With") == "fetch"
    period = request.GET.get("since", "")
    period = period if period in _PERIODS else "24h"
    return context | {
        "title": "Dashboard",
        "frame": f"admin/{'bare' if is_fetch else 'base'}.html",
        "may": may,
        "has_role": any(may.values()),
        "now": timezone.localtime(now),
        "alarms": _alarms(now) if may["outboundmessage"] else [],
        "days": _days(now) if may["booking"] else [],
        "machine": machine(now, may),
        **(_replies(period) if may["inboundmessage"] else {}),
        **(_sending(now, may) if may["outboundmessage"] else {}),
    }


_TABLES = (
    *("booking", "inboundmessage", "outboundmessage", "ticket", "deliveryreceipt"),
    *("circuit", "sender", "spending"),
)


def _alarms(now: dt.datetime) -> list[Any]:
    return list(alarms.current_alarms(is_refusing=refusals.is_ringing(now)))


# Today and tomorrow


def _days(now: dt.datetime) -> list[dict[str, Any]]:
    today = timezone.localdate(now)
    days = {"today": today, "tomorrow": today + dt.timedelta(days=1)}
    come, unreached = figures.of_days(days.values()), count_not_informed(days.values())
    return [
        {
            "name": name,
            "day": show_day(day),
            "figures": _day(name, day, come[day], unreached[day], now),
        }
        for name, day in days.items()
    ]


def _day(
    name: str, day: dt.date, come: figures.OfDay, unreached: int, now: dt.datetime
) -> list[Figure]:
    of_day = {"day": name, "state__exact": BookingState.SCHEDULED.value}
    total = come.counts["bookings"]

    def stage(key: str, label: str, **more: Any) -> Figure:
        asked = of_day if key == "bookings" else of_day | {"stage": key}
        count = come.counts[key]
        share = share_of(count, total)
        return Figure(label, count, list_of(Booking, **asked), share=share, **more)

    call_list = f"{reverse('admin:bookings_booking_unaware')}?day={day.isoformat()}"
    share = min(share_of(unreached, total), 100)  # also of those that are not there any more
    oldest = age("oldest", come.oldest, now)
    return [
        *(stage(key, label) for key, label in _STAGES_SHOWN.items()),
        Figure("Customers to call", unreached, call_list, share=share, is_bad=True),
        stage("waiting", "Needs attention", note=oldest, is_bad=True),
    ]


# Replies


def _replies(period: str) -> dict[str, Any]:
    hours, words = _PERIODS[period]
    since = figures.hours_back(hours)
    asked = {"received_at__gte": since.isoformat()}
    by_choice, by_hour = figures.replies(since)
    return {
        "period": words,
        "periods": [(name, shown[1], name == period) for name, shown in _PERIODS.items()],
        "choices": bars(
            (shown, by_choice[chose], list_of(InboundMessage, **asked, choice=chose or "none"))
            for chose, shown in CHOICES_SHOWN.items()
        ),
        "hours": bars(
            (f"{hour:02}:00", count, list_of(InboundMessage, **asked, received_at__hour=hour))
            for hour, count in by_hour
        ),
    }


# How fast, what failed, and what it cost


def _sending(now: dt.datetime, may: Mapping[str, bool]) -> dict[str, Any]:
    today = timezone.localdate(now)
    day = figures.hours_back(24)
    since = midnight(today - _FAILURES_OF)
    asked = {"trouble": "lost", "queued_at__gte": since.isoformat()}
    reasons, codes = figures.failures(since)
    told: dict[str, Any] = {
        "speed": figures.speed(day),
        "speed_link": list_of(
            OutboundMessage,
            kind__exact=Kind.ACKNOWLEDGEMENT.value,
            queued_at__gte=day.isoformat(),
            call_started_at__isnull=False,
            in_reply_to__isnull=False,
        ),
        "reasons": bars(
            (
                visible(reason) or "no reason given",
                count,
                list_of(OutboundMessage, **asked, reason=reason),
            )
            for reason, count in reasons
        ),
        "countries": bars(
            (
                show_country(code) if code else "unknown country",
                count,
                list_of(OutboundMessage, **asked, country=code) if code else "",
            )
            for code, count in codes
        ),
    }
    if may["spending"]:
        told["costs"] = _costs(today)
    return told


def _costs(today: dt.date) -> list[dict[str, Any]]:
    """By day, the newest first: texts lead to their list; parts and cost are sums."""
    days = figures.sent_by_day(today - _COST_OF, today)
    most = max((sent.parts for sent in days), default=0)
    return [
        {
            "day": show_day(sent.day),
            "texts": sent.texts,
            "link": list_of(
                OutboundMessage,
                call_started_at__gte=midnight(sent.day).isoformat(),
                call_started_at__lt=midnight(sent.day + dt.timedelta(days=1)).isoformat(),
            ),
            "parts": sent.parts,
            "cost": f"{sent.cost:.2f}",
            "share": share_of(sent.parts, most),
        }
        for sent in reversed(days)
    ]

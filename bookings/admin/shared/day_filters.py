"""Filters of lists: from a day to a day. Each is a part of the list's address."""

import datetime as dt
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone


class DaysFilter(admin.ListFilter):
    """From a day to a day, both included. A day that is none raises ValueError, as any nonsense in an address."""

    template = "admin/bookings/days_filter.html"
    prefix = field = ""

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.days = {name: (params.pop(name, None) or [""])[-1] for name in self.names()}
        self.used_parameters |= self.days

    def has_output(self) -> bool:
        return True

    @classmethod
    def names(cls) -> list[str]:
        return [f"{cls.prefix}_from", f"{cls.prefix}_to"]

    def expected_parameters(self) -> list[str | None]:
        return [*self.names()]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Two fields of a form, and what else stands in the address."""
        others = changelist.get_query_string(remove=[*self.names(), "p"])
        yield {
            "fields": [
                (word, name, day)
                for word, (name, day) in zip(("from", "to"), self.days.items(), strict=True)
            ],
            "others": parse_qsl(others.removeprefix("?")),
            "clear": others,
            "is_used": any(self.days.values()),
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = (dt.date.fromisoformat(day) if day else None for day in self.days.values())
        if first:
            queryset = queryset.filter(self.bound("gte", first))
        return queryset.filter(self.bound("lt", last + dt.timedelta(days=1))) if last else queryset

    def bound(self, lookup: str, day: dt.date) -> Q:
        """The condition that a row lies on this side of the beginning of a day."""
        return Q(**{f"{self.field}__{lookup}": day})


class MomentFilter(DaysFilter):
    """By the day, in the company's zone, on which a moment lies. The database finds it by an index."""

    def bound(self, lookup: str, day: dt.date) -> Q:
        midnight = dt.datetime.combine(day, dt.time(), timezone.get_default_timezone())
        return Q(**{f"{self.field}__{lookup}": midnight})


class ReceivedFilter(MomentFilter):
    title, prefix, field = "day received", "received", "received_at"


class QueuedFilter(MomentFilter):
    title, prefix, field = "day queued", "queued", "queued_at"


class DeliveryDayFilter(DaysFilter):
    title, prefix, field = "day of the delivery", "delivery", "booking__slot__date"


class BookingDayFilter(DeliveryDayFilter):
    field = "slot__date"

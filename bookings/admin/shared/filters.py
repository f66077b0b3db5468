"""Filters by day, by how far a customer was asked, and by what needs a person."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone

from bookings.admin.shared.columns import show_day
from bookings.admin.shared.guard import is_key
from bookings.models import (
    BatchState,
    Booking,
    InboundMessage,
    Kind,
    Manifest,
    ManifestState,
    MessageState,
    Notification,
    OutboundMessage,
    Ticket,
)
from bookings.models.fields import can_get_sms
from bookings.models.message_states import LOST
from bookings.outbox import holding
from bookings.reporting.timeline import visible

#: A batch that runs or is paused, with nothing left to do.
FINISHED = "finished"

#: Manifests that the filter of bookings names.
_LISTED = 5


def coming_first(field: str) -> list[Any]:
    """An order that begins with what lies ahead, in the order of its days."""
    is_past = Case(When(**{f"{field}__lt": timezone.localdate()}, then=Value(1)), default=Value(0))
    return [is_past, F(field).asc()]


class DayFilter(admin.SimpleListFilter):
    """By the day of a delivery: what matters lies ahead."""

    title = "day"
    parameter_name = "day"
    field = "slot__date"

    @classmethod
    def on(cls, field: str) -> "type[DayFilter]":
        return type("DayFilter", (cls,), {"field": field})

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("today", "today"),
            ("tomorrow", "tomorrow"),
            ("coming", "today and later"),
            ("past", "past"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        today = timezone.localdate()
        days = {
            "today": Q(**{self.field: today}),
            "tomorrow": Q(**{self.field: today + dt.timedelta(days=1)}),
            "coming": Q(**{f"{self.field}__gte": today}),
            "past": Q(**{f"{self.field}__lt": today}),
        }
        return queryset.filter(days.get(self.value() or "", Q()))


class AskedFilter(admin.SimpleListFilter):
    """How far a booking's customer has been asked, and has answered."""

    title = "customer"
    parameter_name = "asked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("not_asked", "not notified"),
            ("waiting", "notified, no reply"),
            ("answered", "replied"),
            ("not_reached", "not reached by SMS"),
            ("attention", "needs attention"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        of_booking = {"booking": OuterRef("pk")}
        asked = Exists(Notification.objects.filter(**of_booking))
        answers = InboundMessage.objects.filter(**of_booking)
        lost = OutboundMessage.objects.filter(kind=Kind.NOTIFICATION, state__in=LOST, **of_booking)
        match self.value():
            case "not_asked":
                return queryset.filter(~asked)
            case "waiting":
                return queryset.filter(asked, ~Exists(answers))
            case "answered":
                return queryset.filter(Exists(answers))
            case "not_reached":
                return queryset.filter(Exists(lost) | Q(msisdn__in=_deaf_numbers()))
            case "attention":
                # A notification without options is a plain notice: its customer can only call.
                notices = Notification.objects.open().filter(options=None, **of_booking)
                waiting = Ticket.objects.waiting().filter(**of_booking)
                return queryset.filter(Exists(waiting) | Exists(notices))
        return queryset


def _deaf_numbers() -> list[str]:
    """The numbers of coming deliveries that no SMS can reach, such as fixed lines."""
    coming = Booking.objects.scheduled().filter(slot__date__gte=timezone.localdate())
    return [
        msisdn
        for msisdn in coming.values_list("msisdn", flat=True).order_by()
        if not can_get_sms(msisdn)
    ]


class AttentionFilter(admin.SimpleListFilter):
    """Whether a text waits for a person. What somebody has seen to waits no more."""

    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "needs attention"), ("no", "does not")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        waiting = Ticket.objects.waiting().filter(inbound__isnull=False).values("inbound")
        match self.value():
            case "yes":
                return queryset.filter(pk__in=waiting)
            case "no":
                return queryset.exclude(pk__in=waiting)
        return queryset


class ParkedFilter(admin.SimpleListFilter):
    title = "match"
    parameter_name = "match"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "matched"), ("no", "no matching message")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.exclude(attempt=None)
            case "no":
                return queryset.filter(attempt=None)
        return queryset


class StuckFilter(admin.SimpleListFilter):
    """Texts that a person may have to do something about."""

    title = "problem"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("lost", "not delivered"),
            ("unknown", "outcome unknown"),
            ("due", "due now"),
            ("late", "queued over 10 min"),
            ("held", "on hold"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "lost":
                return queryset.filter(state__in=LOST)
            case "unknown":
                return queryset.filter(state=MessageState.UNKNOWN)
            case "due":
                return queryset.filter(state=MessageState.QUEUED, due_at__lte=timezone.now())
            case "late":
                since = timezone.now() - dt.timedelta(minutes=10)
                return queryset.filter(state=MessageState.QUEUED, due_at__lt=since)
            case "held":
                return queryset.filter(pk__in=holding.held().values("pk"))
        return queryset


class ValueFilter(admin.SimpleListFilter):
    """By the values that a field can have. Django would look through the whole table for those that it has."""

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, field: str, title: str, values: Iterable[str]) -> "type[ValueFilter]":
        named = {"parameter_name": field, "title": title, "values": tuple(values)}
        return type("ValueFilter", (cls,), named)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(Q((self.parameter_name, value)))


class BatchStateFilter(admin.SimpleListFilter):
    """Where a batch stands, in the words of its column."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*BatchState.choices, (FINISHED, FINISHED)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "finished":
                return queryset.finished()
            case BatchState.CANCELLED:
                return queryset.filter(state=BatchState.CANCELLED)
            case BatchState.RUNNING | BatchState.PAUSED as state:
                return queryset.going_on().filter(state=state)
        return queryset


class ManifestFilter(admin.SimpleListFilter):
    """The bookings that one manifest brought in or changed. Its page leads here."""

    title = "manifest"
    parameter_name = "manifest"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The one that is asked for, and the last few."""
        if not request.user.has_perm("bookings.view_manifest"):
            return []
        rows = Manifest.objects.only("name", "created_at")
        asked = str(self.used_parameters.get(self.parameter_name, ""))
        chosen = rows.filter(pk=int(asked)) if is_key(asked) else []
        last = rows.exclude(state=ManifestState.PREVIEWED)[:_LISTED]
        return list({str(row.pk): _named(row) for row in (*chosen, *last)}.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        pk = int(value) if is_key(value) else 0
        came_in = Manifest.bookings.through.objects.filter(manifest_id=pk)
        return queryset.filter(pk__in=came_in.values("booking"))


def _named(manifest: Manifest) -> str:
    return f"{visible(manifest.name)}, {show_day(timezone.localdate(manifest.created_at))}"

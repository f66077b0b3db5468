"""Filters of the history of replies. Each is a part of the list's address, so that a list can be kept as a link."""

import datetime as dt
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from bookings.admin.shared.guard import is_key
from bookings.language import messages
from bookings.models import MessageState, OutboundMessage, SlotChange, Ticket
from bookings.replies import screening
from bookings.replies.parser import RULES
from bookings.reporting.timeline.steps import full_name

#: In the words of bookings.conversation, which stores them.
_READINGS = (
    *("choice", "words", "thanks", "cancel"),
    *("opt out", "opt in", "help", "not understood"),
)
_SLOW = {"5": 5, "60": 60}


class _Folded(admin.SimpleListFilter):
    """One of many: a filter opens by a click, and stands open while it is in use."""

    template = "admin/bookings/folded_filter.html"


class OutcomeFilter(admin.ChoicesFieldListFilter):
    template = "admin/bookings/folded_filter.html"


class ReadingFilter(_Folded):
    title = "reading"
    parameter_name = "reading"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in _READINGS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reading=self.value()) if self.value() else queryset


class RuleFilter(_Folded):
    title = "rule"
    parameter_name = "rule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in (*RULES, screening.TOO_MANY, screening.LONGER)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(rule=self.value()) if self.value() else queryset


class DigitFilter(_Folded):
    title = "option chosen"
    parameter_name = "digit"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "none"), *((str(digit), f"option {digit}") for digit in range(1, 10))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case None:
                return queryset
            case "none":
                return queryset.filter(option=None)
            case digit:
                return queryset.filter(option__digit=int(digit))


class MovedFilter(_Folded):
    title = "delivery"
    parameter_name = "moved"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "moved"), ("no", "not moved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        has_moved = Exists(SlotChange.objects.filter(inbound=OuterRef("pk")))
        match self.value():
            case "yes":
                return queryset.filter(has_moved)
            case "no":
                return queryset.filter(~has_moved)
        return queryset


class AnswerFilter(_Folded):
    """Where the acknowledgement stands."""

    title = "acknowledgement"
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "not answered"), *MessageState.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        answers = OutboundMessage.objects.answers_to(OuterRef("pk"))
        match self.value():
            case None:
                return queryset
            case "none":
                return queryset.filter(~Exists(answers))
            case state:
                return queryset.filter(Exists(answers.filter(state=state)))


class SecondsFilter(_Folded):
    """From the customer's text to the hand-over of the acknowledgement."""

    title = "response time"
    parameter_name = "seconds"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("5", "over 5 seconds"),
            ("60", "over 60 seconds"),
            ("none", "acknowledgement not handed over"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        answers = OutboundMessage.objects.answers_to(OuterRef("pk"))
        if self.value() == "none":
            return queryset.filter(Exists(answers.filter(call_started_at=None)))
        if self.value() not in _SLOW:
            return queryset
        since = OuterRef("received_at") + dt.timedelta(seconds=_SLOW[self.value() or ""])
        return queryset.filter(Exists(answers.filter(call_started_at__gt=since)))


class LanguageFilter(_Folded):
    title = "language"
    parameter_name = "language"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(language, language) for language in messages.languages()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(booking__language=self.value()) if self.value() else queryset


class PersonFilter(_Folded):
    """Who of staff saw to the reply: took it over, settled it, or wrote back."""

    title = "handled by"
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        staff = get_user_model().objects.filter(is_staff=True).order_by("username")
        return [(str(user.pk), full_name(user)) for user in staff]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        if not is_key(self.value() or ""):
            raise ValueError("Nobody has such a key.")
        key = int(self.value() or "")
        acted = [
            Ticket.objects.filter(Q(owner=key) | Q(settled_by=key), inbound=OuterRef("pk")),
            SlotChange.objects.filter(inbound=OuterRef("pk"), user=key),
            OutboundMessage.objects.filter(in_reply_to=OuterRef("pk"), user=key),
        ]
        return queryset.filter(reduce(or_, (Q(Exists(rows)) for rows in acted)))

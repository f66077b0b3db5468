"""Filters behind the numbers of the dashboard: by the very conditions that it counts by."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from bookings.models import Chose
from bookings.reporting import dashboard


class StageFilter(admin.SimpleListFilter):
    """How far a delivery has come."""

    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("asked", "notified"),
            ("delivered", "message delivered"),
            ("answered", "replied"),
            ("moved", "moved by the customer"),
            ("waiting", "needs attention"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        stage = dashboard.STAGES.get(self.value() or "")
        return queryset if stage is None else queryset.filter(stage)


class ChoiceFilter(admin.SimpleListFilter):
    """What a customer's text chose."""

    title = "choice"
    parameter_name = "choice"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(chose or "none", shown) for chose, shown in CHOICES_SHOWN.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked = "" if self.value() == "none" else self.value()
        return queryset.filter(chose=asked) if asked in CHOICES_SHOWN else queryset


class CountryFilter(admin.SimpleListFilter):
    """By the calling code that a number begins with. Shown only where the dashboard's link has set it."""

    title = "country"
    parameter_name = "country"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(code), show_country(code)) for code in self._code()]

    def has_output(self) -> bool:
        return bool(self._code())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for code in self._code():
            queryset = queryset.filter(msisdn__startswith=str(code))
        return queryset

    def _code(self) -> list[int]:
        """The code that is asked for, if there is such a one."""
        known = {str(code): code for code in COUNTRY_CODE_TO_REGION_CODE}
        code = known.get(self.value() or "")
        return [] if code is None else [code]


#: The words for what a customer's text chose.
CHOICES_SHOWN = {**dict(Chose.choices), "": "unclear"}


def show_country(code: int) -> str:
    """`+44 GB`; where more countries share a code, the largest of them."""
    return f"+{code} {COUNTRY_CODE_TO_REGION_CODE[code][0]}"

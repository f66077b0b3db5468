"""What ops do about texts: release or cancel held ones, and run the rule again where it failed.

Each asks once more, takes a limited number of rows, and is written down.
"""

from collections.abc import Callable
from io import StringIO
from typing import Any

from django.contrib import admin, messages
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from bookings.admin.shared import confirmation
from bookings.models import ActKind, InboundMessage, Outcome, StaffAct
from bookings.outbox import holding

#: Keys of at most 18 digits, so that each fits into an act's details whole.
_NAMED_AT_ONCE = 20


class Mending(ModelAdmin):
    """Who may mend: whoever may close the circuit."""

    def has_mend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.change_circuit")

    def _record(self, request: HttpRequest, kind: ActKind, keys: list[int]) -> None:
        user: Any = request.user
        for first in range(0, len(keys), _NAMED_AT_ONCE):
            rows = ", ".join(map(str, keys[first : first + _NAMED_AT_ONCE]))
            StaffAct.objects.create(kind=kind, user=user, details=f"messages {rows}")


class HeldTexts(Mending):
    """Texts that waited while no sender ran, as in an old backup."""

    @admin.action(description="Release held messages …", permissions=["mend"])
    def release_held(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self._end_hold(
            request,
            rows,
            action="release_held",
            act=ActKind.RELEASED,
            notification="Send these messages?",
            button="Release and send",
            carry_out=holding.release,
            done="Released: {}. Expired messages are not sent.",
        )

    @admin.action(description="Cancel held messages …", permissions=["mend"])
    def drop_held(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self._end_hold(
            request,
            rows,
            action="drop_held",
            act=ActKind.DROPPED,
            notification="Cancel these messages?",
            button="Cancel messages",
            carry_out=holding.drop,
            done="Cancelled: {}.",
        )

    def _end_hold(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        *,
        action: str,
        act: ActKind,
        notification: str,
        button: str,
        carry_out: Callable[[list[int]], int],
        done: str,
    ) -> HttpResponse | None:
        held = rows.filter(pk__in=holding.held().values("pk"))
        with transaction.atomic():
            page = confirmation.page(
                self, request, held, action=action, notification=notification, button=button
            )
            if page is not None:
                return page
            keys = list(held.order_by("pk").values_list("pk", flat=True))
            self._record(request, act, keys)
            count = carry_out(keys)
        self.message_user(request, done.format(count), messages.SUCCESS)
        return None


class UndecidedTexts(Mending):
    """Customers' texts on which our rule failed."""

    @admin.action(description="Process again …", permissions=["mend"])
    def run_again(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        failed = rows.filter(outcome=Outcome.ERROR)
        notification = "Process these messages again? The customers are answered."
        button = "Process again"
        with transaction.atomic():
            page = confirmation.page(
                self, request, failed, action="run_again", notification=notification, button=button
            )
            if page is not None:
                return page
            keys = list(failed.order_by("pk").values_list("pk", flat=True))
            self._record(request, ActKind.REPLAYED, keys)
        for key in keys:  # each in a transaction of its own: one that fails again keeps no other
            self._run_again(request, key)
        return None

    def _run_again(self, request: HttpRequest, key: int) -> None:
        try:
            call_command("replay_inbound", key, stdout=StringIO())
        except CommandError as error:
            self.message_user(request, f"Message {key}: {error}", messages.ERROR)
        else:
            label = InboundMessage.objects.get(pk=key).get_outcome_display()
            self.message_user(request, f"Message {key}: {label}", messages.SUCCESS)

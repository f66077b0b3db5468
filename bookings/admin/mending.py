"""What ops do about texts: release or cancel held ones, and run the rule again where it failed.

Each asks once more, takes a limited number of rows, and is written down.
"""

from io import StringIO
from typing import Any

from django.contrib import admin, messages
from django.core.management import CommandError, call_command
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from bookings.admin import confirming
from bookings.models import ActKind, InboundMessage, Outcome, StaffAct

_LONGEST_DETAILS = 500


class Mending:
    """Who may mend: whoever may close the circuit."""

    message_user: Any

    def has_mend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.change_circuit")

    def _record(self, request: HttpRequest, kind: ActKind, keys: list[int]) -> None:
        user: Any = request.user
        rows = ", ".join(map(str, keys))
        details = f"{len(keys)} rows: {rows}"[:_LONGEST_DETAILS]
        StaffAct.objects.create(kind=kind, user=user, details=details)


class UndecidedTexts(Mending):
    """Customers' texts on which our rule failed."""

    @admin.action(description="Run the rule again …", permissions=["mend"])
    def run_again(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        failed = rows.filter(outcome=Outcome.ERROR)
        question = "Run the rule again over these texts? Their customers are answered."
        button = "Run the rule again"
        page = confirming.page(self, request, failed, question=question, button=button)
        if page is not None:
            return page
        keys = list(failed.order_by("pk").values_list("pk", flat=True))
        self._record(request, ActKind.REPLAYED, keys)
        for key in keys:
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

"""The circuit: whether sending is paused because the gateway refuses us as a whole."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from bookings.admin.shared.columns import moment_column
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.models import ActKind, Circuit, StaffAct
from bookings.outbox.circuit import close_circuit


@admin.register(Circuit)
class CircuitAdmin(HistoryAdminMixin, KeptAdmin):
    """One row at most. It opens by itself; people may only close it."""

    empty_says = "Sending has never been paused."
    opened = moment_column("opened_at", "paused since")
    tried_again = moment_column("probe_at", "next try")
    list_display = ["state", "opened", "reason", "tried_again"]
    fields = ["opened", "reason", "tried_again"]
    actions = ["close_circuit"]
    list_before_template = "admin/bookings/circuit/hint.html"

    @display(description="sending", label={"open": "danger", "closed": "success"})
    def state(self, circuit: Circuit) -> tuple[str, str]:
        is_open = circuit.opened_at is not None
        return ("open", "paused") if is_open else ("closed", "on")

    def has_close_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.change_circuit")

    @admin.action(description="Resume sending", permissions=["close"])
    def close_circuit(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """What was wrong should have been put right: texts that waited are sent."""
        reason = Circuit.current().reason
        if not close_circuit():
            self.message_user(request, "Sending was already on.", messages.INFO)
            return
        user: Any = request.user
        StaffAct.objects.create(kind=ActKind.CLOSED_CIRCUIT, user=user, details=reason)
        self.log_change(request, Circuit.current(), "Sending resumed.")
        sentence = "Sending resumed. Queued messages are being sent."
        self.message_user(request, sentence, messages.SUCCESS)

"""What a proxy or a monitor asks: is the process alive, and can it keep a reply?"""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bookings.models import Circuit, MessageState, OutboundMessage


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers at all."""
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 only for the database or missing migrations: a proxy that takes us away loses replies.

    A slow outbox and an open circuit are reported with 200.
    """
    try:
        if missing := _missing_migrations():
            return JsonResponse({"database": "ok", "missing_migrations": missing}, status=503)
        return JsonResponse({"database": "ok", "missing_migrations": 0} | _outbox())
    except (DatabaseError, InterfaceError):
        return JsonResponse({"database": "unreachable"}, status=503)


def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _outbox() -> dict[str, Any]:
    now = timezone.now()
    due = OutboundMessage.objects.filter(state=MessageState.QUEUED, due_at__lte=now)
    oldest = due.aggregate(oldest=Min("due_at"))["oldest"]
    circuit = Circuit.objects.first()
    opened_at = circuit.opened_at if circuit else None
    return {
        "outbox_oldest_due_seconds": round((now - oldest).total_seconds()) if oldest else 0,
        "circuit": "open" if opened_at else "closed",
        "circuit_opened_at": opened_at,
    }

"""Health checks for proxies and monitors: `/healthz` (process) and `/readyz` (database and migrations)."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Exists, Min, OuterRef
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bookings.models import Circuit, DeliveryReceipt, MessageState, OutboundMessage, Spending
from bookings.operations import alarms
from bookings.outbox import holding
from bookings.web.webhooks.deadline import cut_off
from bookings.web.webhooks.views import refusals

#: Vonage tries for 72 h at the most (SMS API, `ttl`).
RECEIPT_WITHIN = dt.timedelta(hours=73)
LEAST_FREE_PERCENT = 10
MOST_SECONDS = 4.0


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the process runs."""
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 503 only if the database is down or migrations are missing: a proxy that removes us loses replies.

    Alarms, outbox age, circuit, caps and disk space are reported with 200.
    """
    try:
        with cut_off(MOST_SECONDS):  # who asks every second may not use up the threads
            if missing := _missing_migrations():
                return JsonResponse({"database": "ok", "missing_migrations": missing}, status=503)
            told = _alarms() | _outbox() | _receipts() | _money() | _disk()
            return JsonResponse({"database": "ok", "missing_migrations": 0} | told)
    except (DatabaseError, InterfaceError):
        return JsonResponse({"database": "unreachable"}, status=503)


def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _alarms() -> dict[str, Any]:
    """Return the names of the active alarms; the dashboard and the log explain them."""
    is_refusing = refusals.is_ringing(timezone.now())
    return {"alarms": [alarm.name for alarm in alarms.current_alarms(is_refusing=is_refusing)]}


def _outbox() -> dict[str, Any]:
    now = timezone.now()
    due = OutboundMessage.objects.filter(state=MessageState.QUEUED, due_at__lte=now)
    oldest = due.aggregate(oldest=Min("due_at"))["oldest"]
    circuit = Circuit.objects.first()
    opened_at = circuit.opened_at if circuit else None
    return {
        "outbox_oldest_due_seconds": round((now - oldest).total_seconds()) if oldest else 0,
        "outbox_held": holding.held().count(),
        "circuit": "open" if opened_at else "closed",
        "circuit_opened_at": opened_at,
    }


def _receipts() -> dict[str, Any]:
    """Count the texts whose receipt is overdue: the gateway has stopped trying, and no receipt came."""
    silent = OutboundMessage.objects.filter(
        ~Exists(DeliveryReceipt.objects.filter(attempt__message=OuterRef("pk"))),
        state=MessageState.SUBMITTED,
        call_started_at__lte=timezone.now() - RECEIPT_WITHIN,
    )
    return {"receipts_overdue": silent.count()}


def _money() -> dict[str, Any]:
    """Return today's spending and the last known balance, in the account's currency."""
    today = Spending.of(timezone.localdate())
    known = Spending.objects.filter(balance__isnull=False).order_by("-day")
    balance = known.values_list("balance", flat=True).first()
    return {
        "spent_today": f"{today.amount:.2f}",
        "spending_stopped_at": today.stopped_at,
        "balance": None if balance is None else f"{balance:.2f}",
    }


def _disk() -> dict[str, Any]:
    """Return the free disk space for an SQLite database; nothing on PostgreSQL."""
    path = Path(str(connection.settings_dict["NAME"]))
    if connection.vendor != "sqlite" or not path.exists():
        return {}
    usage = shutil.disk_usage(path)
    percent = 100 * usage.free // usage.total
    return {"disk_free_percent": percent, "disk": "low" if percent < LEAST_FREE_PERCENT else "ok"}

"""The health pages for proxies and monitors."""

import shutil
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from bookings.models import Circuit, MessageState, Spending
from tests.factories import DeliveryReceiptFactory, OutboundMessageFactory, SendAttemptFactory

pytestmark = pytest.mark.database


class DiskUsage(NamedTuple):
    """Disk usage in bytes, as the operating system reports it."""

    total: int
    used: int
    free: int


def test_the_process_answers_without_a_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.django_db
def test_ready_when_the_database_is_there_and_up_to_date(client, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(100, 40, 60))
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "database": "ok",
        "missing_migrations": 0,
        "alarms": [],
        "outbox_oldest_due_seconds": 0,
        "outbox_held": 0,
        "circuit": "closed",
        "circuit_opened_at": None,
        "receipts_overdue": 0,
        "spent_today": "0.00",
        "spending_stopped_at": None,
        "balance": None,
    } | ({"disk_free_percent": 60, "disk": "ok"} if connection.vendor == "sqlite" else {})


@pytest.mark.django_db
def test_daily_spending_and_last_known_balance_are_reported(client):
    today = timezone.localdate()
    for ago, balance in [(2, "20.50"), (1, "9.99"), (0, None)]:
        day = today - timedelta(days=ago)
        Spending.objects.create(day=day, amount=Decimal("1.20"), balance=balance)
    Spending.objects.filter(day=today).update(stopped_at=timezone.now())
    told = client.get("/readyz").json()
    assert (told["spent_today"], told["balance"]) == ("1.20", "9.99")
    assert told["spending_stopped_at"] is not None


@pytest.mark.django_db
def test_texts_without_a_receipt_after_73_hours_are_counted_and_stay_as_they_are(client):
    def submitted(hours):
        moment = timezone.now() - timedelta(hours=hours)
        return SendAttemptFactory.create(message__call_started_at=moment)

    overdue = submitted(74)
    submitted(72)
    DeliveryReceiptFactory.create(attempt=submitted(74), status="unknown")
    assert client.get("/readyz").json()["receipts_overdue"] == 1
    overdue.message.refresh_from_db()
    assert overdue.message.state == MessageState.SUBMITTED


@pytest.mark.django_db
def test_held_texts_are_reported(client):
    OutboundMessageFactory.create(is_held=True)
    OutboundMessageFactory.create()
    assert client.get("/readyz").json()["outbox_held"] == 1


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL watches its own disk")
@pytest.mark.parametrize(("free", "word"), [(9, "low"), (10, "ok")])
def test_nearly_full_disk_is_reported_and_stays_ready(client, monkeypatch, free, word):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: DiskUsage(1000, 1000 - free * 10, free * 10)
    )
    response = client.get("/readyz")
    assert (response.status_code, response.json()["disk"]) == (200, word)


@pytest.mark.django_db
def test_open_circuit_is_reported_and_stays_ready(client):
    opened_at = timezone.now() - timedelta(minutes=5)
    circuit = Circuit.objects.first() or Circuit()
    circuit.opened_at = opened_at
    circuit.save()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["circuit"] == "open"


@pytest.mark.django_db
def test_not_ready_without_the_database(client):
    def refuse(execute, sql, params, many, context):
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(refuse):
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"database": "unreachable"})


@pytest.mark.django_db(transaction=True)
def test_not_ready_while_a_migration_is_missing(client):
    call_command("migrate", "sessions", "zero", verbosity=0)
    try:
        response = client.get("/readyz")
    finally:
        call_command("migrate", "sessions", verbosity=0)
    assert response.status_code == 503
    assert response.json()["missing_migrations"] == 1

"""What a proxy and a monitor are told."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from bookings.models import Circuit


def test_the_process_answers_without_a_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.django_db
def test_ready_when_the_database_is_there_and_up_to_date(client):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "database": "ok",
        "missing_migrations": 0,
        "outbox_oldest_due_seconds": 0,
        "circuit": "closed",
        "circuit_opened_at": None,
    }


@pytest.mark.django_db
def test_an_open_circuit_is_told_and_does_not_take_us_away(client):
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

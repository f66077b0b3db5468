"""Django's own checks and ours, and the migrations."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

pytestmark = pytest.mark.database

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_the_models_have_all_their_migrations():
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)


@pytest.mark.django_db(transaction=True)
def test_test_settings_pass_all_checks():
    if connection.vendor == "sqlite":  # the tests' settings do not wait for the disk
        connection.cursor().execute("PRAGMA synchronous = FULL")
    try:
        assert run_checks(databases=["default"]) == []
    finally:
        connection.close()


def test_the_production_example_passes_the_deployment_checks():
    result = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env={
            "PATH": os.environ["PATH"],
            "ENV_FILE": ".env.example",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "VONAGE_API_KEY": "abcd1234",
            "VONAGE_API_SECRET": "secret",
            "VONAGE_SIGNATURE_SECRETS": secrets.token_urlsafe(50),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PHONE_REGION", "ZZ", "bookings.E001"),
        ("COMPANY_NAME", "A Company With A Long Name", "bookings.W001"),
        ("VONAGE_SIGNATURE_METHOD", "md5hash", "bookings.W002"),
        ("VONAGE_SIGNATURE_METHOD", "sha1", "bookings.W002"),
        ("VONAGE_SIGNATURE_SECRETS", ["x" * 32, "short"], "bookings.W003"),
        ("WEBHOOK_TOKEN", "short", "bookings.W004"),
    ],
)
def test_doubtful_setting_is_reported(settings, name, value, expected):
    setattr(settings, name, value)
    assert [message.id for message in run_checks()] == [expected]


def test_simulator_fails_the_deployment_check(settings):
    found = {message.id for message in run_checks(include_deployment_checks=True)}
    assert "bookings.W005" in found


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SMS_COUNTRIES", [], {"bookings.W006"}),
        ("SMS_COUNTRIES", ["GB"], set()),
        ("VONAGE_REST_HOST", "rest.example.com", {"bookings.W007"}),
        ("VONAGE_REST_HOST", "rest.nexmo.com.example.com", {"bookings.W007"}),
        ("VONAGE_REST_HOST", "notnexmo.com", {"bookings.W007"}),
        ("VONAGE_REST_HOST", "rest-eu.nexmo.com:443", set()),
        ("VONAGE_REST_HOST", "api.vonage.com", set()),
    ],
)
def test_doubtful_setting_with_real_phones_fails_the_deployment_check(
    settings, name, value, expected
):
    settings.SMS_GATEWAY, settings.SMS_COUNTRIES = "vonage", ["GB"]
    setattr(settings, name, value)
    found = {message.id for message in run_checks(include_deployment_checks=True)}
    assert found & {"bookings.W006", "bookings.W007"} == expected

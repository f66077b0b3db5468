"""System checks: settings that are questionable and yet do not prevent a start."""

from collections.abc import Iterator, Sequence
from typing import Any

import phonenumbers
from django.conf import settings
from django.core import checks
from django.db import connection

MIN_SECRET_LENGTH = 32
MIN_TOKEN_LENGTH = 16
MAX_NAME_LENGTH = 20
SYNCHRONOUS_FULL = 2


@checks.register(checks.Tags.compatibility)
def check_company(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check the company's name and phone region."""
    found: list[checks.CheckMessage] = []
    if settings.PHONE_REGION not in phonenumbers.SUPPORTED_REGIONS:
        found.append(
            checks.Error(
                f"PHONE_REGION {settings.PHONE_REGION} is not a region with phone numbers.",
                hint="Write the country's two letters, such as GB.",
                id="bookings.E001",
            )
        )
    if len(settings.COMPANY_NAME) > MAX_NAME_LENGTH:
        found.append(
            checks.Warning(
                f"COMPANY_NAME is longer than {MAX_NAME_LENGTH} characters.",
                hint="Every SMS begins with it: a longer one costs a second part.",
                id="bookings.W001",
            )
        )
    return found


@checks.register(checks.Tags.security)
def check_webhooks(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the webhooks' secrets are strong."""
    found: list[checks.CheckMessage] = []
    if settings.VONAGE_SIGNATURE_METHOD in {"md5hash", "md5", "sha1"}:
        found.append(
            checks.Warning(
                f"VONAGE_SIGNATURE_METHOD {settings.VONAGE_SIGNATURE_METHOD} is weak.",
                hint="Choose SHA-256 or SHA-512 in the Vonage dashboard, and here.",
                id="bookings.W002",
            )
        )
    if any(len(secret) < MIN_SECRET_LENGTH for secret in settings.VONAGE_SIGNATURE_SECRETS):
        found.append(
            checks.Warning(
                f"A signature secret is shorter than {MIN_SECRET_LENGTH} characters.",
                hint="Ask Vonage for a longer one.",
                id="bookings.W003",
            )
        )
    if settings.WEBHOOK_TOKEN and len(settings.WEBHOOK_TOKEN) < MIN_TOKEN_LENGTH:
        found.append(
            checks.Warning(
                f"WEBHOOK_TOKEN is shorter than {MIN_TOKEN_LENGTH} characters.",
                hint="Take a long random word.",
                id="bookings.W004",
            )
        )
    return found


@checks.register(checks.Tags.security, deploy=True)
def check_production(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check for settings that suit development only."""
    if settings.SMS_GATEWAY == "vonage":
        return list(_doubts_about_vonage())
    return [
        checks.Warning(
            "SMS_GATEWAY is the simulator: no customer gets an SMS.",
            hint="Write SMS_GATEWAY=vonage.",
            id="bookings.W005",
        )
    ]


def _doubts_about_vonage() -> Iterator[checks.CheckMessage]:
    if not settings.SMS_COUNTRIES:
        yield checks.Warning(
            "SMS_COUNTRIES is empty: texts may go to any country, at any price.",
            hint="Name the countries of your customers, such as SMS_COUNTRIES=GB,IE.",
            id="bookings.W006",
        )
    host = settings.VONAGE_REST_HOST.split(":")[0].lower()
    if not host.endswith((".nexmo.com", ".vonage.com")):
        yield checks.Warning(
            "VONAGE_REST_HOST is none of Vonage's: it gets our credentials and every text.",
            hint="Leave it empty for rest.nexmo.com.",
            id="bookings.W007",
        )


@checks.register(checks.Tags.database)
def check_sqlite(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Check that SQLite writes a reply to disk before we answer 200 (run with `--database default`)."""
    if connection.vendor != "sqlite" or "default" not in (databases or ()):
        return []
    with connection.cursor() as cursor:
        synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
    if synchronous >= SYNCHRONOUS_FULL:
        return []
    return [
        checks.Error(
            "SQLite does not wait for the disk.",
            hint="Leave the OPTIONS of DATABASES as they are.",
            id="bookings.E002",
        )
    ]

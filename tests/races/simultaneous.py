"""Simultaneous actions: threads with their own connections, and signed webhook requests."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client

from bookings.gateways.signature import sign
from tests.processes import VIRTUAL_NUMBER

_message_ids = count(1)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run the acts at once, and return each result or exception.

    Every thread opens its connection first: else the first one is done before the last begins.
    """
    barrier = Barrier(len(acts), timeout=120)

    def run(act: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return act()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


def post(path: str, fields: dict[str, str]) -> Callable[[], int]:
    """Return an act that posts these fields to a webhook and returns the status code."""
    return lambda: Client().post(path, fields, content_type="application/json").status_code


def reply(msisdn: str, text: str) -> Callable[[], int]:
    return post("/webhooks/inbound-sms", signed(msisdn, text))


def signed(msisdn: str, text: str, message_id: str = "") -> dict[str, str]:
    """Return the signed fields of an inbound SMS."""
    return sealed(
        {
            "msisdn": msisdn,
            "to": VIRTUAL_NUMBER,
            "messageId": message_id or f"0D{next(_message_ids):014X}",
            "text": text,
        }
    )


def sealed(fields: dict[str, str]) -> dict[str, str]:
    return fields | {"sig": sign(fields, settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")}

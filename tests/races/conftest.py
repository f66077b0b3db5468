"""Customers who write at the same instant: real threads, each with its own connection and request."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from bookings.gateways.signature import sign
from tests.processes import VIRTUAL_NUMBER

_message_ids = count(1)


def signed(msisdn: str, text: str, message_id: str = "") -> dict[str, str]:
    fields = {
        "msisdn": msisdn,
        "to": VIRTUAL_NUMBER,
        "messageId": message_id or f"0D{next(_message_ids):014X}",
        "text": text,
    }
    fields["sig"] = sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")
    return fields


@pytest.fixture
def at_once() -> Callable[[list[dict[str, str]]], list[int]]:
    """Post these to the inbound webhook at the same instant, and return the status codes.

    Every thread opens its connection first: else the first one is done before the last begins.
    """

    def post_all(requests: list[dict[str, str]]) -> list[int]:
        barrier = Barrier(len(requests), timeout=10)

        def post(fields: dict[str, str]) -> int:
            connection.ensure_connection()
            try:
                barrier.wait()
                return (
                    Client()
                    .post("/webhooks/inbound-sms", fields, content_type="application/json")
                    .status_code
                )
            finally:
                connection.close()

        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(post, requests))

    return post_all

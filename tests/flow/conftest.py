"""Fixtures for flow tests: replies and receipts over the real webhooks, and a sender.

The mobile network is faked: in memory, or over TLS where a process of the product sends.
"""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import (
    Booking,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    Notification,
    OutboundMessage,
    SendAttempt,
)
from bookings.notifications.asking import notify
from bookings.outbox import sending
from bookings.outbox.claiming import claim
from bookings.outbox.sending import hand_over, start_call
from tests.factories import NotificationFactory, OutboundMessageFactory
from tests.fake_vonage import FakeVonage
from tests.memory_gateway import MemoryGateway
from tests.network import Network, Post
from tests.processes import VIRTUAL_NUMBER, environment

_message_ids = count(1)


@pytest.fixture
def network(settings, monkeypatch) -> Network:
    """Return the network that takes the SMS of a sender in this process, and counts them (`posts`)."""
    settings.SMS_GATEWAY = "vonage"
    settings.VONAGE_API_KEY, settings.VONAGE_API_SECRET = "abcd1234", "AbCdEf0123456789"
    settings.SMS_RATE_PER_SECOND = 1000.0
    memory = Network()
    monkeypatch.setattr(sending, "_vonage", lru_cache(maxsize=1)(lambda *_: MemoryGateway(memory)))
    return memory


@pytest.fixture(scope="session")
def _fake_vonage() -> Iterator[FakeVonage]:
    with FakeVonage(api_key="abcd1234", api_secret="AbCdEf0123456789") as fake:
        yield fake


@pytest.fixture
def vonage(_fake_vonage: FakeVonage, settings) -> FakeVonage:
    """Return the Vonage to which a process with `process_env` sends, over TLS."""
    settings.SMS_GATEWAY = "vonage"
    _fake_vonage.reset()
    return _fake_vonage


@pytest.fixture
def drain(network) -> Callable[[], list[dict[str, str]]]:
    """Send all that is due now, and return the forms that the network took."""

    def send() -> list[dict[str, str]]:
        before = len(network.posts)
        call_command("run_outbox", "--drain")
        return [post.form for post in network.posts[before:]]

    return send


@pytest.fixture
def ask(network) -> Callable[..., Notification]:
    """Ask about a booking, and hand over what is due."""

    def asked(booking: Booking, **choices: Any) -> Notification:
        notification = notify(booking, **choices)
        hand_over_due()
        return Notification.objects.get(pk=notification.pk)

    return asked


@pytest.fixture
def queued() -> Callable[..., OutboundMessage]:
    """Queue one SMS for Vonage: an acknowledgement, or what is named. A notification has its notification."""

    def make(kind: Kind = Kind.ACKNOWLEDGEMENT, **fields: object) -> OutboundMessage:
        if kind == Kind.NOTIFICATION and "notification" not in fields:
            fields["notification"] = NotificationFactory.create(handed_over_at=None)
        priority = 5 if kind == Kind.NOTIFICATION else 1
        values = {"kind": kind, "gateway": "vonage", "priority": priority} | fields
        return OutboundMessageFactory.create(**values)

    return make


@pytest.fixture
def report() -> Callable[..., DeliveryReceipt]:
    """Send a signed receipt for what the network took to the webhook, and return it as it was stored.

    `changes` replaces fields of the receipt, with `_` for `-`; None leaves one out.
    """

    def post_receipt(
        post: Post, status: str = "delivered", *, part: int = 1, **changes: str | None
    ) -> DeliveryReceipt:
        values = {
            "msisdn": post.form["to"],
            "to": post.form["from"],
            "messageId": post.message_ids[part - 1],
            "status": status,
            "err-code": "0",
            "scts": "2611231200",
            "client-ref": post.client_ref,
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        fields = {name: value for name, value in values.items() if value is not None}
        fields["sig"] = sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")
        response = Client(enforce_csrf_checks=True).post(
            "/webhooks/delivery-receipt", json.dumps(fields), content_type="application/json"
        )
        assert response.status_code == 200
        return DeliveryReceipt.objects.order_by("pk").filter(status=status)[0]

    return post_receipt


@pytest.fixture
def reply() -> Callable[..., InboundMessage]:
    """Send a signed SMS to the inbound webhook, and return the message as it was stored."""

    def post(msisdn: str, text: str, **fields: str) -> InboundMessage:
        values = {
            "msisdn": msisdn,
            "to": VIRTUAL_NUMBER,
            "messageId": f"0C{next(_message_ids):014X}",
            "text": text,
            "type": "text",
        } | fields
        values["sig"] = sign(values, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")
        response = Client(enforce_csrf_checks=True).post(
            "/webhooks/inbound-sms", json.dumps(values), content_type="application/json"
        )
        assert response.status_code == 200
        return InboundMessage.objects.get(gateway_message_id=values["messageId"])

    return post


@pytest.fixture
def process_env(vonage, transactional_db) -> dict[str, str]:
    """Return the environment of a process on the tests' own database."""
    return environment(vonage, url_of(str(connection.settings_dict["NAME"])))


def url_of(name: str) -> str:
    """Return the URL of a database beside the tests' database; a file for SQLite."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    told = connection.settings_dict
    password = f":{told['PASSWORD']}" if told["PASSWORD"] else ""
    return f"postgres://{told['USER']}{password}@{told['HOST']}:{told['PORT'] or 5432}/{name}"


def hand_over_due() -> None:
    """Hand over up to ten texts that are due, without the sweep of a sender, which takes as long again."""
    for message in claim(10).messages:
        hand_over(message, sending.gateway())


def begin_call() -> SendAttempt:
    """Claim the one due message, and start its call."""
    (message,) = claim(1).messages
    attempt = start_call(message)
    assert attempt is not None
    return attempt

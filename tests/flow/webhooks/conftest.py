"""Fixtures for both webhooks: payloads, signatures, and three ways of sending."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import DeliveryReceipt, InboundMessage
from bookings.web.webhooks import views
from bookings.web.webhooks.alarm import RefusalAlarm

PAYLOADS = Path(__file__).parents[2] / "payloads" / "vonage"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
SECRET, NEXT_SECRET, TOKEN = "first-" * 6, "next-" * 6, "a-long-random-word"


@dataclass(frozen=True)
class Webhook:
    name: str
    payload: str
    model: Any
    max_age: timedelta

    @property
    def fields(self) -> dict[str, str]:
        path = PAYLOADS / f"{self.payload}.json"
        fields: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return fields

    def url(self, token=None) -> str:
        return f"/webhooks/{token}/{self.name}" if token else f"/webhooks/{self.name}"

    def stored(self) -> int:
        count: int = self.model.objects.count()
        return count


WEBHOOKS = [
    Webhook("inbound-sms", "inbound_text", InboundMessage, timedelta(hours=25)),
    Webhook("delivery-receipt", "receipt_delivered", DeliveryReceipt, timedelta(hours=73)),
]
WAYS = ["GET", "form", "JSON"]


@pytest.fixture(params=WEBHOOKS, ids=lambda webhook: webhook.name)
def webhook(request):
    return request.param


@pytest.fixture
def client():
    return Client(enforce_csrf_checks=True)


@pytest.fixture(autouse=True)
def nothing_was_refused_before(monkeypatch):
    monkeypatch.setattr(views, "refusals", RefusalAlarm())


@pytest.fixture
def configure(settings):
    def configure(*, secrets=(), token="", method="sha256"):
        settings.VONAGE_SIGNATURE_SECRETS = list(secrets)
        settings.WEBHOOK_TOKEN = token
        settings.VONAGE_SIGNATURE_METHOD = method

    configure(secrets=[SECRET])
    return configure


@pytest.fixture
def send(client, configure):
    """Send fields a minute after their timestamp."""

    def send(webhook, fields, *, token=None, way="JSON", after=timedelta(minutes=1)):
        now = int(webhook.fields["timestamp"]) + after.total_seconds()
        url = webhook.url(token)
        with time_machine.travel(now, tick=False):
            match way:
                case "GET":
                    return client.get(f"{url}?{urlencode(fields)}")
                case "form":
                    return client.post(url, urlencode(fields), content_type=FORM)
                case _:
                    return client.post(url, json.dumps(fields), content_type=JSON)

    return send


def signed(fields, secret=SECRET, method="sha256"):
    return fields | {"sig": sign(fields, secret, method)}


def without(fields, key):
    return {name: value for name, value in fields.items() if name != key}


SIGNATURE = {"secrets": [SECRET]}
ROTATION = {"secrets": [SECRET, NEXT_SECRET]}
PATH_TOKEN = {"token": TOKEN}
BOTH = {"secrets": [SECRET], "token": TOKEN}
NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Case:
    config: dict[str, Any]
    make: Callable[[dict[str, str]], dict[str, Any]]
    token: str | None = None  # in the path


def is_silent(response) -> bool:
    return bool(response.content == b"" and response["Cache-Control"] == "no-store")

"""What the flow tests speak in: a customer's reply over the real webhook, and the sender over a real wire.

The one thing faked is the mobile network.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import InboundMessage
from bookings.outbox import sending
from tests.factories import VIRTUAL_NUMBER
from tests.fake_vonage import FakeVonage

_message_ids = count(1)


@pytest.fixture(scope="session")
def _fake_vonage() -> Iterator[FakeVonage]:
    with FakeVonage(api_key="abcd1234", api_secret="AbCdEf0123456789") as fake:
        yield fake


@pytest.fixture
def network(_fake_vonage, settings, monkeypatch) -> Iterator[FakeVonage]:
    """Vonage as far as the outbox can tell: a TLS server that takes SMS and counts them (`posts`)."""
    settings.SMS_GATEWAY = "vonage"
    settings.VONAGE_API_KEY, settings.VONAGE_API_SECRET = "abcd1234", "AbCdEf0123456789"
    settings.VONAGE_REST_HOST = _fake_vonage.host
    settings.SMS_RATE_PER_SECOND = 1000.0
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(_fake_vonage.ca_file))
    _fake_vonage.reset()
    sending.gateway.cache_clear()
    yield _fake_vonage
    sending.gateway().close()
    sending.gateway.cache_clear()


@pytest.fixture
def drain(network) -> Callable[[], list[dict[str, str]]]:
    """Send all that is due now, and return the forms that the network took."""

    def send() -> list[dict[str, str]]:
        before = len(network.posts)
        call_command("run_outbox", "--drain")
        return [post.form for post in network.posts[before:]]

    return send


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

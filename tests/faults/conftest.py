"""Fixtures: a fake Vonage that can misbehave, and the gateway to it."""

from contextlib import contextmanager

import pytest

from bookings.gateways import OutgoingSMS
from bookings.gateways.vonage import VonageGateway
from tests.fake_vonage import FakeVonage

KEY, SECRET = "abcd1234", "AbCdEf0123456789"
SMS = OutgoingSMS(
    to="447700900001",
    sender="447700900000",
    text="Acme: your delivery AB12 comes tomorrow.",
    client_ref="msg-42-1",
    is_unicode=False,
)


@pytest.fixture
def vonage():
    with FakeVonage(api_key=KEY, api_secret=SECRET) as fake:
        yield fake


@contextmanager
def gateway_to(host, ca_file=None, *, secret=SECRET, timeout=5):
    gateway = VonageGateway(
        api_key=KEY, api_secret=secret, rest_host=host, timeout=timeout, ca_bundle=ca_file
    )
    try:
        yield gateway
    finally:
        gateway.close()


@pytest.fixture
def gateway(vonage):
    with gateway_to(vonage.host, vonage.ca_file) as gateway:
        yield gateway

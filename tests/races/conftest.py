"""Fixtures for customers who write at the same time."""

from collections.abc import Callable

import pytest

from bookings.web.webhooks import deadline
from tests.races import simultaneous
from tests.races.simultaneous import post, signed

__all__ = ["signed"]


@pytest.fixture(autouse=True)
def _patient_webhooks(monkeypatch):
    """Lengthen the webhooks' time limits: eight threads wait for one another on a machine that may be busy."""
    monkeypatch.setattr(deadline, "CUT_AFTER", 60.0)
    monkeypatch.setattr(deadline, "LAST_TURN", 60.0)


@pytest.fixture
def at_once() -> Callable[[list[dict[str, str]]], list[int]]:
    """Post these to the inbound webhook at the same instant, and return the status codes."""
    return lambda requests: simultaneous.at_once(
        *[post("/webhooks/inbound-sms", fields) for fields in requests]
    )

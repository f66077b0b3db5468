"""Customers who write at the same instant."""

from collections.abc import Callable

import pytest

from tests.races import together
from tests.races.together import post, signed

__all__ = ["signed"]


@pytest.fixture
def at_once() -> Callable[[list[dict[str, str]]], list[int]]:
    """Post these to the inbound webhook at the same instant, and return the status codes."""
    return lambda requests: together.at_once(
        *[post("/webhooks/inbound-sms", fields) for fields in requests]
    )

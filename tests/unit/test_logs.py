"""What the log hides of what libraries write into it."""

import logging

import pytest

from delivery_sms.logs import MaskingFormatter, masked


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Not Found: /simulator/447700900123/x", "Not Found: /simulator/•••0123/x"),
        ("to +447700900123.", "to •••0123."),
        ("PUT: /webhooks/SECRET123/inbound-sms", "PUT: /webhooks/•••/inbound-sms"),
        ("Not Found: /webhooks/inbound-smss", "Not Found: /webhooks/inbound-smss"),
        (
            "2026-11-23 01:02:03,456 Message 1234567: sent",
            "2026-11-23 01:02:03,456 Message 1234567: sent",
        ),
        ("attempt 1d00e40583eb1daa5982a6b8-1", "attempt 1d00e40583eb1daa5982a6b8-1"),
    ],
    ids=["number in a path", "number", "token", "no token", "times and ids", "client-ref"],
)
def test_numbers_and_the_token_are_masked(written, shown):
    assert masked(written) == shown


def test_a_traceback_is_masked_too():
    error = ValueError("447700900123 is wrong")
    record = logging.LogRecord("x", 40, "", 0, "failed", None, (ValueError, error, None))
    shown = MaskingFormatter("{message}", style="{").format(record)
    assert "•••0123 is wrong" in shown
    assert "447700900123" not in shown

"""The log masks numbers and tokens, and escapes line breaks, in all messages."""

import json
import logging

import pytest

from delivery_sms.logs import JSONFormatter, MaskingFormatter, begin_request, masked, request_id


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Not Found: /simulator/447700900123/x", "Not Found: /simulator/•••0123/x"),
        ("to +447700900123.", "to •••0123."),
        ("/simulator/%2B447700900123/", "/simulator/•••0123/"),
        ("PUT: /webhooks/SECRET123/inbound-sms", "PUT: /webhooks/•••/inbound-sms"),
        ("Not Found: /webhooks/inbound-smss", "Not Found: /webhooks/inbound-smss"),
        (
            "2026-11-23 01:02:03,456 Message 1234567: sent",
            "2026-11-23 01:02:03,456 Message 1234567: sent",
        ),
        ("attempt 1d00e40583eb1daa5982a6b8-1", "attempt 1d00e40583eb1daa5982a6b8-1"),
    ],
    ids=[
        "number in a path",
        "number",
        "escaped number",
        "token",
        "no token",
        "times and ids",
        "client-ref",
    ],
)
def test_numbers_and_the_token_are_masked(written, shown):
    assert masked(written) == shown


def test_a_traceback_is_masked_too():
    error = ValueError("447700900123 is wrong")
    record = logging.LogRecord("x", 40, "", 0, "failed", None, (ValueError, error, None))
    shown = MaskingFormatter("{message}", style="{").format(record)
    assert "•••0123 is wrong" in shown
    assert "447700900123" not in shown


def record(message, *args, error=None):
    exc_info = (type(error), error, None) if error else None
    return logging.LogRecord("bookings", 40, "", 0, message, args, exc_info)


@pytest.fixture(params=["line", "json"])
def formatted(request):
    line = MaskingFormatter("{levelname} {name}{request}: {message}", style="{")
    formatter = JSONFormatter() if request.param == "json" else line
    return lambda *args, **kwargs: formatter.format(record(*args, **kwargs))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x85", "\u2028", "\x0b", "\x1b[2K", "\u202e"])
def test_logged_text_cannot_forge_a_line(formatted, end):
    shown = formatted("Text %s", f"hello{end}2026-11-25 ERROR root: forged")
    assert end not in shown
    assert len(shown.splitlines()) == 1


def test_traceback_lines_are_part_of_one_event(formatted):
    shown = formatted("failed", error=ValueError("hello\nERROR root: forged by 447700900123"))
    assert not any(line.startswith("ERROR root") for line in shown.splitlines())
    assert "447700900123" not in shown


def test_log_line_names_its_request(formatted):
    token = request_id.set("")
    try:
        name = begin_request("given-by-a-proxy-1")
        assert name == "given-by-a-proxy-1"
        assert name in formatted("hello")
        assert begin_request("two\nlines") != "two\nlines"
    finally:
        request_id.reset(token)


def test_json_line_is_one_object_with_the_collectors_fields():
    event = json.loads(JSONFormatter().format(record("to %s", "447700900123")))
    assert event["message"] == "to •••0123"
    assert set(event) == {"at", "level", "logger", "request", "message"}
    assert event["at"].endswith("Z")

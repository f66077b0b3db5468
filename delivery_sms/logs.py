"""Log lines: one event on one line, with masked phone numbers and without the webhook token."""

import json
import logging
import re
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_NUMBER = re.compile(r"(?<![\w-])(?:\+|%2[Bb])?[0-9]{4,11}([0-9]{4})(?![\w-])")
_TOKEN = re.compile(r"(/webhooks/)[^/\s]+(/)")
# What ends a line somewhere, or hides what stands before it.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

#: The id of the request that is being answered; "" outside of a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def begin_request(given: str = "") -> str:
    """Set and return the request id: the proxy's `X-Request-ID` if it is a plain word, else a new one."""
    name = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
    request_id.set(name)
    return name


def end_request() -> None:
    """Clear the request id of this thread."""
    request_id.set("")


def masked(text: str) -> str:
    """Return the text with phone numbers cut to their last four digits and without the webhook token."""
    return _NUMBER.sub(r"•••\1", _TOKEN.sub(r"\1•••\2", text))


def on_one_line(text: str) -> str:
    """Return the text with control characters escaped, so that logged text cannot imitate a log line."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class MaskingFormatter(logging.Formatter):
    """Masks every log record, also of libraries, because our paths can contain a number or the token.

    The lines of a traceback are indented, so that only an event starts in the first column.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        record.request = f" [{request_id.get()}]" if request_id.get() else ""
        return on_one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"    {on_one_line(line)}" for line in lines)

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class JSONFormatter(MaskingFormatter):
    """Writes one JSON object per line for a log collector: at (UTC), level, logger, request, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "at": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "level": record.levelname,
            "logger": record.name,
            "request": request_id.get(),
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            event["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(event, ensure_ascii=True)

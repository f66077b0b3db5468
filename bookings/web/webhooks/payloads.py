"""Parsing of webhook requests into frozen values, strict about bytes, keys and types.

Vonage sends the same fields in a query, a form or a JSON object, as the account is set
(developer.vonage.com/en/dashboard/control/api-settings). A request has one source of fields,
chosen by its method and content type alone.
"""

import functools
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from bookings.gateways import InboundSMS, MessagePart, Receipt

MAX_BYTES = 16 * 1024
MAX_FIELDS = 40
MAX_PARTS = 20

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither, as text or as jsonb
_EMPTY_MULTIPART = re.compile(r"--\S{1,70}--\s*")
_PART = re.compile(r"\S{1,40} [0-9]{1,2} of [0-9]{1,2}")
_LENGTH = re.compile("[0-9]{1,12}")
_INT64 = range(-(2**63), 2**63)
_YEARS = range(2000, 2100)  # no time zone can push these out of what a datetime holds

Pairs = Iterable[tuple[str, object]]


class RefusedError(Exception):
    """A request that is refused, with the HTTP status of the answer."""

    def __init__(self, reason: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


def read_fields(request: HttpRequest) -> dict[str, str]:
    """Return the fields as they came, decoded once; {} for a bare request.

    Raises RefusedError for anything but at most 16 kB of UTF-8 with distinct plain keys, and for
    a query and a body together (Vonage on signatures: "unsupported").
    """
    try:
        return _checked(_pairs(request))
    except (ValueError, RecursionError, OSError) as error:  # OSError: the client hung up
        raise RefusedError(f"unreadable: {type(error).__name__}") from error


def parse_inbound(fields: Mapping[str, str]) -> InboundSMS:
    """Return a customer's SMS; `msisdn` is the customer, `to` is us (Vonage, "Inbound SMS").

    Raises RefusedError without messageId, msisdn, to or, unless it is binary, text. The text may
    be empty.
    """
    clean = _storable(fields)
    kind = clean.get("type") or "text"
    if kind != "binary" and "text" not in clean:
        raise RefusedError("no text")
    return InboundSMS(
        gateway_message_id=_required(clean, "messageId", 100),
        msisdn=_required(clean, "msisdn", 40),
        virtual_number=_required(clean, "to", 40),
        text=clean.get("text", ""),
        type=kind[:16],
        sent_at=_parse_moment(clean.get("message-timestamp", "")),
        part=_parse_part(clean),
        raw=clean,
    )


def parse_receipt(fields: Mapping[str, str]) -> Receipt:
    """Return a delivery receipt; `msisdn` is the customer, `to` is us (Vonage, "Delivery receipt").

    Raises RefusedError without status, or with neither messageId nor client-ref. What is only
    shown is cut to fit; `raw` keeps it whole.
    """
    clean = _storable(fields)
    if not clean.get("messageId") and not clean.get("client-ref"):
        raise RefusedError("neither messageId nor client-ref")
    return Receipt(
        gateway_message_id=_fitting(clean, "messageId", 100),
        client_ref=_fitting(clean, "client-ref", 100),
        msisdn=clean.get("msisdn", "")[:40],
        status=_required(clean, "status", 40),
        err_code=clean.get("err-code", "")[:10],
        price=clean.get("price", "")[:20],
        network_code=clean.get("network-code", "")[:16],
        scts=clean.get("scts", "")[:20],
        sent_at=_parse_moment(clean.get("message-timestamp", "")),
        raw=clean,
    )


def _pairs(request: HttpRequest) -> Pairs:
    length = _parse_length(request.META.get("CONTENT_LENGTH") or "0")
    query = request.META.get("QUERY_STRING", "")
    if length > MAX_BYTES or len(query) > MAX_BYTES:
        raise RefusedError("too many bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if request.method != "POST":
        if length or "HTTP_TRANSFER_ENCODING" in request.META:
            raise RefusedError("a body without POST")
        return _form_pairs(query.encode("latin-1").decode())  # how WSGI hands over bytes
    if query:
        raise RefusedError("a query with POST")
    body = _read_body(request, length)
    return _parser_for(request)(body.decode()) if body else ()


def _parse_length(text: str) -> int:
    """Parse digits only (RFC 9110, section 8.6): `int` also accepts `1_0`, `+6` and digits of other scripts."""
    if not _LENGTH.fullmatch(text):
        raise RefusedError("an odd Content-Length")
    return int(text)


def _read_body(request: HttpRequest, length: int) -> bytes:
    stream: Any = request
    chunked = not length and "HTTP_TRANSFER_ENCODING" in request.META
    if chunked and isinstance(request, WSGIRequest):
        # Django would read it as empty, and an empty request is answered with 200: a reply lost.
        if not request.META.get("wsgi.input_terminated"):
            raise RefusedError("a chunked body", HTTPStatus.LENGTH_REQUIRED)
        stream = request.META["wsgi.input"]
    body: bytes = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise RefusedError("too many bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if length and len(body) != length:
        raise RefusedError("the body ended early")
    return body


def _parser_for(request: HttpRequest) -> Callable[[str], Pairs]:
    parser = _PARSERS.get(request.content_type or "")
    if request.content_type == "multipart/form-data":
        parser = functools.partial(_multipart_pairs, content_type=request.META["CONTENT_TYPE"])
    charset = (request.content_params or {}).get("charset", "utf-8")
    if parser is None or charset.lower() not in {"utf-8", "utf8"}:
        raise RefusedError("neither a form nor JSON, in UTF-8", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return parser


def _form_pairs(text: str) -> Pairs:
    if _BROKEN_ESCAPE.search(text):
        raise RefusedError("a broken percent escape")
    return parse_qsl(
        text,
        keep_blank_values=True,
        strict_parsing=True,
        errors="strict",
        max_num_fields=MAX_FIELDS,
    )


def _json_pairs(text: str) -> Pairs:
    pairs = json.loads(text, object_pairs_hook=tuple)  # as pairs, so that repeated keys show
    if not isinstance(pairs, tuple):
        raise RefusedError("JSON, but not an object")
    return pairs


def _multipart_pairs(text: str, content_type: str) -> Pairs:
    """Parse a multipart form, the default of many HTTP clients. Files in it are ignored."""
    body = text.encode()
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": len(body)}
    try:
        form, _ = MultiPartParser(meta, io.BytesIO(body), [], "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise RefusedError("broken multipart") from error
    if not form and not _EMPTY_MULTIPART.fullmatch(text):  # it must not pass for a bare request
        raise RefusedError("multipart without fields")
    return [(key, value) for key, values in form.lists() for value in values]


_PARSERS: dict[str, Callable[[str], Pairs]] = {
    "application/x-www-form-urlencoded": _form_pairs,
    "application/json": _json_pairs,
}


def _checked(pairs: Pairs) -> dict[str, str]:
    """Return the fields if all keys are plain and distinct and all values are text or whole numbers.

    A signature is made over `&key=value`, with `&` and `=` masked in values only, so a key such as
    `a=1&messageId` would verify and yet carry no messageId.
    """
    fields: dict[str, str] = {}
    for key, value in pairs:
        if key in fields or not _KEY.fullmatch(key):
            raise RefusedError("a repeated or odd key")
        fields[key] = _plain(value)
    if len(fields) > MAX_FIELDS:
        raise RefusedError("too many fields")
    return fields


def _plain(value: object) -> str:
    match value:
        case str():
            return value
        case int() if not isinstance(value, bool) and value in _INT64:
            return str(value)
    raise RefusedError("a value that is neither text nor a whole number")


def _storable(fields: Mapping[str, str]) -> dict[str, str]:
    return {
        key: _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        for key, value in fields.items()
        if key != "sig"
    }


def _required(fields: Mapping[str, str], key: str, max_length: int) -> str:
    if not fields.get(key):
        raise RefusedError(f"no {key}")
    return _fitting(fields, key, max_length)


def _fitting(fields: Mapping[str, str], key: str, max_length: int) -> str:
    value = fields.get(key, "")
    if len(value) > max_length:
        raise RefusedError(f"{key} is too long")
    return value


def _parse_moment(text: str) -> datetime | None:
    """Parse `2024-05-06 12:00:00` (UTC) or ISO 8601 with an offset; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.year not in _YEARS:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _parse_part(fields: Mapping[str, str]) -> MessagePart | None:
    """Return the part of a long SMS that this message is.

    None unless reference, total and number are all valid: a part that can never be joined would never be answered.
    `raw` keeps the fields as they came.
    """
    ref, total, number = (fields.get(f"concat-{key}", "") for key in ("ref", "total", "part"))
    if not _PART.fullmatch(f"{ref} {number} of {total}"):
        return None
    part = MessagePart(ref=ref, total=int(total), number=int(number))
    return part if 1 <= part.number <= part.total <= MAX_PARTS and part.total > 1 else None

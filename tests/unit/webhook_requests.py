"""Webhook requests as a server hands them over, and Vonage's own examples."""

import json
from pathlib import Path
from urllib.parse import urlencode

from django.test import RequestFactory

from bookings.web.webhooks.payloads import RefusedError, read_fields

PAYLOADS = Path(__file__).parent.parent / "payloads" / "vonage"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
URL = "/webhooks/inbound-sms"


def recorded(name) -> dict[str, str]:
    fields: dict[str, str] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return fields


def query_request(query, **extra):
    return RequestFactory().get(URL, QUERY_STRING=query, **extra)


def body_request(body, content_type=FORM, **extra):
    return RequestFactory().generic("POST", URL, body, content_type, **extra)


def as_query(fields):
    return query_request(urlencode(fields))


def as_form(fields):
    return body_request(urlencode(fields).encode())


def as_json(fields):
    return body_request(json.dumps(fields).encode(), JSON)


def as_plain_json(fields):
    return body_request(json.dumps(fields, ensure_ascii=False).encode(), JSON)


def refusal(request):
    """Return the status of the refusal, or None."""
    try:
        read_fields(request)
    except RefusedError as error:
        return error.status
    return None

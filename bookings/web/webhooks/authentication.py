"""Authentication of webhooks: by signature, by the token in the path, or by both.

Every configured proof is required. Without any configured proof, all requests are refused.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from bookings.gateways import signature
from bookings.web.webhooks.payloads import RefusedError

MAX_AHEAD = timedelta(minutes=5)


class ForgedError(RefusedError):
    """The request is not proven to come from the gateway."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, HTTPStatus.UNAUTHORIZED)


def check_authentic(fields: Mapping[str, str], token: str | None, *, max_age: timedelta) -> None:
    """Raise ForgedError unless the request carries every proof that is configured.

    `max_age` is how long the gateway repeats a request; it may or may not sign each try anew. A signed request
    without a timestamp is accepted: its message id makes a replay harmless.
    """
    if not settings.VONAGE_SIGNATURE_SECRETS and not settings.WEBHOOK_TOKEN:
        raise ForgedError("neither a signature secret nor a token is configured")
    if settings.WEBHOOK_TOKEN and not constant_time_compare(token or "", settings.WEBHOOK_TOKEN):
        raise ForgedError("wrong token")
    if settings.VONAGE_SIGNATURE_SECRETS:
        _check_signature(fields)
        _check_age(fields, max_age)


def _check_signature(fields: Mapping[str, str]) -> None:
    if not signature.is_signed(
        fields, settings.VONAGE_SIGNATURE_SECRETS, settings.VONAGE_SIGNATURE_METHOD
    ):
        raise ForgedError("wrong signature")


def _check_age(fields: Mapping[str, str], max_age: timedelta) -> None:
    timestamp = fields.get("timestamp")
    if timestamp is None:
        return
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise ForgedError("no moment in timestamp")
    age = timezone.now().timestamp() - int(timestamp)
    if not -MAX_AHEAD.total_seconds() <= age <= max_age.total_seconds():
        raise ForgedError("too old, or from the future")

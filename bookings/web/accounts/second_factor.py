"""Two-factor log-in: a code from an authenticator app (TOTP), or a recovery code.

Users who have set it up enter a code after each log-in. With `SECOND_FACTOR=required`, users who can change the circuit
must set it up.
"""

import logging
from typing import TYPE_CHECKING

import django_otp
import segno
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django_otp.middleware import is_verified
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

RECOVERY_CODES = 10


def is_missing(request: HttpRequest) -> bool:
    """Return True if this session must still enter a code or set up the second factor."""
    user = request.user
    if not user.is_authenticated or is_verified(user):
        return False
    return is_required(user) or has_one(user)


def is_required(user: "User") -> bool:
    """Return True if this user must have a second factor."""
    return settings.SECOND_FACTOR == "required" and user.has_perm("bookings.change_circuit")


def has_one(user: "User") -> bool:
    """Return True if this user has set up a second factor."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def begin(user: "User") -> TOTPDevice:
    """Return the device that this user is setting up. It is unconfirmed until its first code is entered."""
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, name="phone")
    return device


def qr_code(device: TOTPDevice) -> str:
    """Return the QR code for an authenticator app, as the data URI of an SVG."""
    return segno.make(device.config_url).svg_data_uri(scale=4, dark="#000", light="#fff")


def finish(request: HttpRequest, user: "User", code: str) -> list[str]:
    """Confirm the device with its first code. Return the recovery codes; empty if the code is wrong."""
    device = begin(user)
    with transaction.atomic():
        if not device.verify_token(code):
            logger.warning("Second factor of user %s: a wrong first code", user.pk)
            return []
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        written, _ = StaticDevice.objects.get_or_create(user=user, name="recovery codes")
        written.token_set.all().delete()
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        written.token_set.bulk_create(StaticToken(device=written, token=code) for code in codes)
    django_otp.login(request, device)
    logger.warning("Second factor of user %s: set up", user.pk)
    return codes


def prove(request: HttpRequest, user: "User", code: str) -> bool:
    """Return True if the code is valid for one of this user's devices. Each wrong code doubles the waiting time."""
    device = django_otp.match_token(user, code)
    if device is None:
        logger.warning("Second factor of user %s: a wrong code", user.pk)
        return False
    django_otp.login(request, device)
    return True


def forget(user: "User") -> bool:
    """Remove this user's second factor. Return False if there was none."""
    count = sum(model.objects.filter(user=user).delete()[0] for model in (TOTPDevice, StaticDevice))
    return bool(count)

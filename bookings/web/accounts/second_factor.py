"""The second proof of who somebody is: a code of their phone's authenticator app (TOTP), or one written down.

Who has set one up is asked for it after every login. Who could stop or start the sending must have one where
`SECOND_FACTOR=required`.
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
    """Whether this session must still give its second proof, or set one up."""
    user = request.user
    if not user.is_authenticated or is_verified(user):
        return False
    return is_required(user) or has_one(user)


def is_required(user: "User") -> bool:
    """Whether this user may not do without."""
    return settings.SECOND_FACTOR == "required" and user.has_perm("bookings.change_circuit")


def has_one(user: "User") -> bool:
    """Whether this user has set one up."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def begin(user: "User") -> TOTPDevice:
    """The device that this user is setting up: it counts once its first code was given."""
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, name="phone")
    return device


def qr_code(device: TOTPDevice) -> str:
    """What an authenticator app scans, as a data URI of an SVG."""
    return segno.make(device.config_url).svg_data_uri(scale=4, dark="#000", light="#fff")


def finish(request: HttpRequest, user: "User", code: str) -> list[str]:
    """Confirm the device with its first code; the recovery codes, to be shown this once. Empty: a wrong code."""
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
    """Whether it is a code of one of this user's devices. After wrong ones it must be waited for, longer each time."""
    device = django_otp.match_token(user, code)
    if device is None:
        logger.warning("Second factor of user %s: a wrong code", user.pk)
        return False
    django_otp.login(request, device)
    return True


def forget(user: "User") -> bool:
    """Take the second factor away from somebody who has lost it. False if there was none."""
    count = sum(model.objects.filter(user=user).delete()[0] for model in (TOTPDevice, StaticDevice))
    return bool(count)

"""Log-in attempts: the lock after too many failures, and the client's address that it counts by."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.http import HttpRequest


class LockoutBackend(AxesStandaloneBackend):
    """Locks an account after repeated failures. Log-ins without a request, which our own code makes, do not count."""

    def authenticate(self, request: Any, *args: Any, **kwargs: Any) -> None:
        if request is not None:
            super().authenticate(request, *args, **kwargs)


def client_address(request: HttpRequest) -> str:
    """Return the browser's IP address: the last one in X-Forwarded-For behind a proxy, else the peer's.

    Why the last: our proxy appends it. All addresses before it come from the client and can be forged.
    """
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")

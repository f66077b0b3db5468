"""Who may try to log in, how often, and from where they seem to come."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.http import HttpRequest


class LockoutBackend(AxesStandaloneBackend):
    """Locks out whoever guesses passwords. A log-in that comes with no request is our own code's."""

    def authenticate(self, request: Any, *args: Any, **kwargs: Any) -> None:
        if request is not None:
            super().authenticate(request, *args, **kwargs)


def client_address(request: HttpRequest) -> str:
    """The browser's IP address: the last that the proxy wrote, if there is one in front of us, and else the peer's.

    What stands before the last in X-Forwarded-For came from the browser, and anybody can write it.
    """
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")

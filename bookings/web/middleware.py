"""Middleware: request ids, the content security policy, session limits and the second factor."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from bookings.web.accounts.access import is_fetch
from bookings.web.accounts.second_factor import is_missing
from delivery_sms.logs import begin_request, end_request

HEADER = "Content-Security-Policy"

GetResponse = Callable[[HttpRequest], HttpResponse]

#: A session's last use is saved at most this often, because each save is a write.
_NOTED_EVERY = dt.timedelta(minutes=1)


class RequestIdMiddleware:
    """Adds a request id to the log lines and to the `X-Request-ID` header."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = begin_request(request.headers.get("X-Request-ID", ""))
        try:
            response = self.get_response(request)
        finally:
            end_request()
        response.headers["X-Request-ID"] = name
        return response


class ContentSecurityPolicyMiddleware:
    """Adds a Content-Security-Policy to every response. Only HTML pages allow what the admin's theme needs."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.policy = _header(settings.SECURE_CSP)
        self.page_policy = _header(settings.SECURE_CSP_PAGES)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        response.headers.setdefault(HEADER, self.page_policy if is_page else self.policy)
        return response


def _header(policy: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in policy.items())


class SessionLimitsMiddleware:
    """Logs users out after `SESSION_IDLE` without a request, and `SESSION_COOKIE_AGE` after their log-in.

    Why not Django's own limit: it restarts whenever a session is saved. Polling by a page does not count as use.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, *args: object) -> None:
        """Skip views that need no log-in, so that a forged webhook costs no query."""
        is_open = not getattr(view, "login_required", True)
        if not is_open and request.session.session_key and request.user.is_authenticated:
            self._limit(request)

    def _limit(self, request: HttpRequest) -> None:
        now, session = timezone.now(), request.session
        began_at = _moment(session.get("began_at")) or now
        used_at = _moment(session.get("used_at")) or now
        longest = dt.timedelta(seconds=settings.SESSION_COOKIE_AGE)
        if now - began_at >= longest or now - used_at >= settings.SESSION_IDLE:
            logout(request)
            return
        session.setdefault("began_at", now.isoformat())
        if "used_at" not in session or (now - used_at >= _NOTED_EVERY and not is_fetch(request)):
            session["used_at"] = now.isoformat()


class SecondFactorMiddleware:
    """Redirects users who must still enter their second factor to its page. They can also log out."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, *args: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        is_free = match is not None and match.url_name in {"second-factor", "logout"}
        if is_free or not getattr(view, "login_required", True) or not is_missing(request):
            return None
        return redirect(
            f"{reverse('second-factor')}?{urlencode({'next': request.get_full_path()})}"
        )


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None

"""Every URL needs a login, apart from those that are open on purpose."""

import re

import pytest
from django.contrib.admindocs.views import simplify_regex
from django.urls import URLPattern, URLResolver, get_resolver

OPEN_VIEWS = {"healthz", "readyz", "inbound_sms", "delivery_receipt"}
CSRF_EXEMPT_VIEWS = {"inbound_sms", "delivery_receipt"}
# The way in, the way out (a POST), and the words of the date picker.
OPEN_IN_ADMIN = {"/admin/login/", "/admin/logout/", "/admin/jsi18n/"}


def patterns(resolver, prefix=""):
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        elif isinstance(entry, URLPattern):
            yield re.sub(r"<[^>]*>", "1", simplify_regex(route)), entry.callback


@pytest.fixture(scope="module")
def views():
    found = dict(patterns(get_resolver()))
    assert {"/", "/admin/", "/healthz"} <= set(found)
    return found


def ours(views):
    return [view for view in views.values() if view.__module__.startswith("bookings.")]


def test_the_webhooks_and_the_health_pages_alone_are_open(views):
    is_open = {view.__name__ for view in ours(views) if not getattr(view, "login_required", True)}
    assert is_open == OPEN_VIEWS


def test_two_views_alone_take_a_post_without_a_csrf_token(views):
    exempt = {view.__name__ for view in ours(views) if getattr(view, "csrf_exempt", False)}
    assert exempt == CSRF_EXEMPT_VIEWS


@pytest.mark.django_db
def test_a_stranger_is_sent_to_the_login_everywhere_else(views, client):
    for path, view in views.items():
        if path in OPEN_IN_ADMIN or getattr(view, "__name__", "") in OPEN_VIEWS:
            continue
        response = client.get(path)
        assert response.status_code == 302, path
        assert response.url.startswith("/admin/login/"), path

"""Host and X-Forwarded headers are trusted from a declared proxy only."""

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from bookings.web.accounts.lockout import client_address

FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


def address(**headers):
    return client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.1"))


def test_forwarded_address_is_ignored_without_a_proxy(settings):
    settings.BEHIND_PROXY = False
    assert address() == "192.0.2.1"
    assert address(**FORGED) == "192.0.2.1"


def test_only_the_proxys_own_address_entry_counts(settings):
    settings.BEHIND_PROXY = True
    assert address(**{"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}) == "203.0.113.9"
    assert address() == "192.0.2.1"


def test_forwarded_protocol_is_ignored_without_a_proxy(client):
    request = client.get("/healthz", headers=FORGED).wsgi_request
    assert not request.is_secure()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:80@evil"])
def test_a_host_that_is_not_ours_is_refused(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 400


@pytest.mark.django_db
def test_a_forged_address_does_not_get_around_the_lock(settings):
    settings.BEHIND_PROXY = False
    User.objects.create_user("dispatch", password="long-enough-word", is_staff=True)
    for number in range(settings.AXES_FAILURE_LIMIT):
        Client().post(
            "/admin/login/",
            {"username": "dispatch", "password": "wrong"},
            headers={"X-Forwarded-For": f"203.0.113.{number}"},
        )
    assert AccessAttempt.objects.get().failures_since_start == settings.AXES_FAILURE_LIMIT
    right = {"username": "dispatch", "password": "long-enough-word"}
    answer = Client().post("/admin/login/", right, headers={"X-Forwarded-For": "203.0.113.77"})
    assert answer.status_code == 429

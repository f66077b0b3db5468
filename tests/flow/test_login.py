"""Logging in, guessing passwords, and how long a session lasts."""

import datetime as dt

import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from delivery_sms.settings import PASSWORD_HASHERS as OUR_HASHERS

pytestmark = pytest.mark.django_db


def log_in(password):
    page = reverse("admin:login")
    return Client().post(page, {"username": "dispatch", "password": password, "next": "/"})


@pytest.fixture(autouse=True)
def dispatch():
    return User.objects.create_user("dispatch", password="long-enough-word", is_staff=True)


def test_right_password_logs_in():
    assert log_in("long-enough-word").status_code == 302


def test_repeated_wrong_passwords_lock_out_the_right_one(settings):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        log_in("wrong")
    locked = log_in("long-enough-word")
    assert locked.status_code == 429
    assert "Try again in 15 minutes" in locked.text
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=16)):
        assert log_in("long-enough-word").status_code == 302


def test_a_wrong_name_and_a_wrong_password_are_refused_with_the_same_words():
    page = reverse("admin:login")
    wrong = {"username": "dispatch", "password": "wrong"}
    unknown = {"username": "nobodys", "password": "wrong"}
    said = [Client().post(page, fields).text for fields in (wrong, unknown)]
    assert "Please enter the correct" in said[0]
    without = [text.partition("Please enter the correct")[2][:120] for text in said]
    assert without[0] == without[1]


def test_failed_logins_and_the_lock_are_logged(settings, caplog):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        log_in("wrong-canary-password")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("New login failure" in line for line in said)
    assert any("Locking out" in line for line in said)
    assert "wrong-canary-password" not in caplog.text


def test_our_own_code_may_log_in_without_a_request():
    assert Client().login(username="dispatch", password="long-enough-word")
    assert not Client().login(username="dispatch", password="wrong")


def test_login_invalidates_the_former_session():
    client = Client()
    client.get(reverse("admin:login"))
    client.session.save()
    before = client.session.session_key
    client.login(username="dispatch", password="long-enough-word")
    assert client.session.session_key != before


def test_a_new_password_ends_the_sessions_elsewhere(dispatch):
    client = Client()
    client.force_login(dispatch)
    dispatch.set_password("another-long-word")
    dispatch.save()
    assert client.get("/admin/").status_code == 302


def is_in(client):
    return client.get("/admin/").status_code == 200


@pytest.fixture
def client(dispatch):
    client = Client()
    client.force_login(dispatch)
    assert is_in(client)
    return client


def after(**time):
    return time_machine.travel(timezone.now() + dt.timedelta(**time))


def test_half_an_hour_of_idleness_ends_a_session(client):
    with after(minutes=29):
        assert is_in(client)
    with after(minutes=58):
        assert is_in(client)
    with after(minutes=89):
        assert not is_in(client)


def test_page_refresh_does_not_extend_the_session(client):
    with after(minutes=20):
        client.get("/admin/", headers={"X-Requested-With": "fetch"})
    with after(minutes=31):
        assert not is_in(client)


def test_twelve_hours_after_the_login_a_session_ends_though_it_was_used(client):
    for minutes in range(20, 12 * 60, 20):
        with after(minutes=minutes):
            assert is_in(client)
    with after(hours=12, minutes=1):
        assert not is_in(client)


def test_cookies_are_secure_and_same_site(client):
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert django_settings.SESSION_COOKIE_SECURE == django_settings.BEHIND_PROXY


def test_passwords_are_kept_by_argon2(settings):
    settings.PASSWORD_HASHERS = OUR_HASHERS  # the tests have a fast one
    assert make_password("long-enough-word").startswith("argon2$argon2id$")

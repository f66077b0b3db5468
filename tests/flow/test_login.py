"""Logging in, and guessing passwords."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db


def log_in(password):
    page = reverse("admin:login")
    return Client().post(page, {"username": "dispatch", "password": password, "next": "/"})


@pytest.fixture(autouse=True)
def dispatch():
    return User.objects.create_user("dispatch", password="long-enough-word", is_staff=True)


def test_the_right_password_opens():
    assert log_in("long-enough-word").status_code == 302


def test_who_guesses_too_often_is_locked_out_even_with_the_right_password(settings):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        log_in("wrong")
    assert log_in("long-enough-word").status_code == 429


def test_our_own_code_may_log_in_without_a_request():
    assert Client().login(username="dispatch", password="long-enough-word")
    assert not Client().login(username="dispatch", password="wrong")

"""The second factor: each user sets it up, and each later login asks for a code."""

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

pytestmark = pytest.mark.django_db

PAGE = "/second-factor/"
PASSWORD = "long-enough-word"


@pytest.fixture
def ops():
    user = User.objects.create_user("ops", password=PASSWORD, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_circuit"))
    return user


@pytest.fixture
def log_in(ops):
    def log_in():
        client = Client()
        client.post("/admin/login/", {"username": "ops", "password": PASSWORD, "next": "/admin/"})
        return client

    return log_in


def code_of(device, *, steps=0):
    """Return the phone's code, now or so many half minutes later."""
    return f"{TOTP(device.bin_key, drift=device.drift + steps).token():06}"


@pytest.fixture
def set_up(log_in):
    """Set up a user's second factor; returns the device and the recovery codes."""
    client = log_in()
    client.get(PAGE)
    device = TOTPDevice.objects.get()
    answer = client.post(PAGE, {"code": code_of(device)})
    return device, answer.context["codes"]


def is_in(client):
    return client.get("/admin/").status_code == 200


def test_login_without_a_second_factor_asks_for_no_code(log_in):
    assert is_in(log_in())


def test_second_factor_counts_after_its_first_code(log_in):
    client = log_in()
    page = client.get(PAGE).text
    assert "data:image/svg+xml" in page
    client.post(PAGE, {"code": "000000"})
    assert is_in(log_in())
    assert not TOTPDevice.objects.get().confirmed


def test_each_later_login_asks_for_a_code(set_up, log_in):
    device, _ = set_up
    client = log_in()
    for path in ("/admin/", "/admin/bookings/booking/", "/", "/simulator/"):
        answer = client.get(path)
        assert answer.status_code == 302, path
        assert answer.url.startswith(PAGE), path
    assert client.post("/notify", {}).status_code == 302
    assert client.post(PAGE, {"code": "000000"}).status_code == 200
    assert not is_in(client)
    device.refresh_from_db()
    device.throttle_reset()
    answer = client.post(PAGE, {"code": code_of(device, steps=1), "next": "/admin/"})
    assert answer.url == "/admin/"
    assert is_in(client)


def test_code_is_accepted_once(set_up, log_in):
    device, _ = set_up
    code = code_of(device, steps=1)
    assert log_in().post(PAGE, {"code": code}).status_code == 302
    second = log_in()
    assert second.post(PAGE, {"code": code}).status_code == 200
    assert not is_in(second)


def test_a_recovery_code_takes_the_place_of_the_phone_once(set_up, log_in):
    _, codes = set_up
    assert len(set(codes)) == 10
    client = log_in()
    client.post(PAGE, {"code": codes[0]})
    assert is_in(client)
    again = log_in()
    again.post(PAGE, {"code": codes[0]})
    assert not is_in(again)
    assert StaticToken.objects.count() == 9


def test_codes_cannot_be_guessed_quickly(set_up, log_in):
    device, _ = set_up
    client = log_in()
    with time_machine.travel(timezone.now(), tick=False):
        client.post(PAGE, {"code": "000000"})
        answer = client.post(PAGE, {"code": code_of(device, steps=1)})
    assert "wait a little" in answer.text
    assert not is_in(client)


def test_user_who_owes_a_code_can_log_out(set_up, log_in):
    client = log_in()
    assert client.post("/admin/logout/").status_code == 200
    assert client.get(PAGE).url.startswith("/admin/login/")


def test_required_second_factor_is_enforced_for_users_who_may_stop_sending(settings, log_in):
    settings.SECOND_FACTOR = "required"
    answer = log_in().get("/admin/")
    assert answer.url == f"{PAGE}?next=%2Fadmin%2F"
    dispatch = Client()
    dispatch.force_login(User.objects.create_user("dispatch", is_staff=True))
    assert is_in(dispatch)


def test_second_factor_redirects_to_no_other_site(set_up, log_in):
    device, _ = set_up
    client = log_in()
    code = code_of(device, steps=1)
    answer = client.post(PAGE, {"code": code, "next": "https://evil.example/"})
    assert answer.url == "/admin/"


def test_administrator_removes_a_lost_second_factor(set_up, log_in, ops, admin_client):
    action = {"action": "forget_second_factor", "_selected_action": [ops.pk]}
    admin_client.post("/admin/auth/user/", action)
    assert is_in(log_in())
    assert not StaticToken.objects.exists()


def test_no_page_of_the_admin_shows_a_key(set_up, admin_client):
    assert admin_client.get("/admin/otp_totp/totpdevice/").status_code == 404
    assert "otp_totp" not in admin_client.get("/admin/").text

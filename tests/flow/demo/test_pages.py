"""The demo's additions to staff pages, which exist only in the demo."""

import io

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import reverse

from bookings.dispatch.imports.importing import import_rows
from bookings.dispatch.imports.rows import read
from bookings.models import Booking
from bookings.web.demo import FIRST_CUSTOMER, PREFIX
from bookings.web.demo.accounts import LOGINS, ensure_users, working_logins
from tests.factories import BookingFactory, NotificationFactory

pytestmark = pytest.mark.django_db

NAMES = [login.username for login in LOGINS]


@pytest.fixture
def demo(settings):
    """Create the demo's accounts and its first booking, without the fortnight of other data."""
    settings.DEBUG = True
    ensure_users()
    booking = BookingFactory.create(reference=f"{PREFIX}101", customer_name=FIRST_CUSTOMER)
    NotificationFactory.create(booking=booking)
    return booking


def log_in(username, password):
    request = RequestFactory().post(reverse("admin:login"))
    return authenticate(request, username=username, password=password)


def login_page():
    return Client().get(reverse("admin:login")).text


def start_page(username):
    client = Client()
    assert client.login(
        request=RequestFactory().get("/"), username=username, password=f"demo-{username}"
    )
    return client.get(reverse("admin:index")).text


@pytest.mark.parametrize("username", NAMES)
def test_each_role_logs_in_by_the_button_on_the_login_page(demo, username):
    assert f"demo-{username}" in login_page()
    fields = {"username": username, "password": f"demo-{username}", "next": "/admin/"}
    client = Client()
    assert client.post(reverse("admin:login"), fields)["Location"] == "/admin/"
    assert client.get(reverse("admin:index")).status_code == 200


def test_demo_roles_have_the_rights_of_their_groups(demo):
    users = User.objects.in_bulk(field_name="username")
    assert users["dispatch"].has_perms(["bookings.notify_booking", "bookings.add_booking"])
    assert users["ops"].has_perm("bookings.change_circuit")
    assert not users["auditor"].has_perm("bookings.change_booking")
    assert [name for name in NAMES if users[name].is_superuser] == ["admin"]


@pytest.mark.parametrize(
    "outside",
    [{"DEBUG": False}, {"SMS_GATEWAY": "vonage"}, {"DEBUG": False, "SMS_GATEWAY": "vonage"}],
)
def test_outside_the_demo_no_login_is_shown_and_none_works(demo, settings, outside):
    client = Client()
    client.force_login(User.objects.get(username="admin"), "bookings.web.demo.accounts.DemoBackend")
    for name, value in outside.items():
        setattr(settings, name, value)
    assert working_logins() == []
    assert "demo-" not in login_page()
    assert [log_in(name, f"demo-{name}") for name in NAMES] == [None] * len(NAMES)
    assert client.get(reverse("admin:index")).status_code == 302  # its session has ended


def test_without_the_demos_accounts_no_login_is_shown(settings):
    settings.DEBUG = True
    assert "demo-" not in login_page()


def test_account_of_somebody_else_with_such_a_name_is_left_alone(settings):
    settings.DEBUG = True
    User.objects.create_user("admin", password="a long password")
    ensure_users()
    assert "admin" not in [login.username for login in working_logins()]
    assert log_in("admin", "demo-admin") is None
    assert log_in("admin", "a long password") is not None


@pytest.mark.parametrize("password", ["", "demo-ops", "demo-", None])
def test_other_passwords_are_refused(demo, password):
    assert log_in("dispatch", password) is None


def test_changed_password_is_the_only_one(demo):
    user = User.objects.get(username="dispatch")
    user.set_password("another one")
    user.save()
    assert log_in("dispatch", "demo-dispatch") is None
    assert log_in("dispatch", "another one") == user
    assert "demo-dispatch" not in login_page()


def test_card_shows_phone_and_timeline_and_replies_as_the_customer(demo):
    page = start_page("dispatch")
    assert "Try it" in page
    assert reverse("simulator-reply", args=[demo.msisdn]) in page
    assert reverse("admin:bookings_booking_change", args=[demo.pk]) in page
    assert reverse("demo-manifest") in page


def test_card_offers_nothing_that_its_reader_may_not_do(demo):
    page = start_page("auditor")
    assert "Try it" in page
    assert reverse("simulator-reply", args=[demo.msisdn]) not in page
    assert reverse("demo-manifest") not in page


def test_there_is_no_card_without_demo_data_or_outside_the_demo(demo, settings):
    admin = User.objects.create_superuser("boss", password="x")
    client = Client()
    client.force_login(admin)
    page = reverse("admin:index")
    assert "Try it" in client.get(page).text
    settings.DEBUG = False
    assert "Try it" not in client.get(page).text
    settings.DEBUG = True
    Booking.objects.update(reference="AB12")
    assert "Try it" not in client.get(page).text


@pytest.mark.parametrize("region", ["GB", "US", "FR"])
def test_manifest_has_rows_that_are_accepted_and_rows_that_are_refused(demo, settings, region):
    settings.PHONE_REGION = region
    client = Client()
    client.force_login(
        User.objects.get(username="dispatch"), "bookings.web.demo.accounts.DemoBackend"
    )
    response = client.get(reverse("demo-manifest"))
    assert "attachment" in response["Content-Disposition"]
    report = import_rows(read(response.content))
    assert report.created == 5
    assert len(report.refused) == 4


def test_there_is_no_manifest_outside_the_demo(demo, settings):
    settings.DEBUG = False
    client = Client()
    client.force_login(User.objects.create_superuser("boss", password="x"))
    assert client.get(reverse("demo-manifest")).status_code == 404


def test_start_says_what_it_is_and_how_to_log_in(settings, monkeypatch):
    monkeypatch.setattr("bookings.management.commands.demo.ensure", ensure_users)
    for settings.DEBUG, said in (
        (True, "dispatch, ops, auditor, admin"),
        (False, "createsuperuser"),
    ):
        out = io.StringIO()
        call_command("demo", stdout=out)
        lines = out.getvalue().splitlines()
        assert len(lines) == 2
        assert "no text reaches a real phone" in lines[0]
        assert said in lines[1]

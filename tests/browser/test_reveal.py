"""A click reveals a whole phone number: in its place, or on its own page without scripts."""

import pytest
from playwright.sync_api import expect

from bookings.models import ActKind, Booking, StaffAct
from tests.browser.conftest import PATIENCE
from tests.factories import NotificationFactory, UserFactory
from tests.flow.admin.pages import url

pytestmark = pytest.mark.django_db(transaction=True)

MASKED, WHOLE = "+44 •••••• 2345", "+44 7700 912345"


@pytest.fixture
def notification():
    return NotificationFactory.create(booking__msisdn="447700912345")


@pytest.fixture
def session(client, live_server):
    client.force_login(UserFactory.create(is_superuser=True))
    value = client.cookies["sessionid"].value
    return {"name": "sessionid", "value": value, "url": live_server.url}


def test_a_click_shows_the_number_in_its_place(page, session, notification, complaints):
    page.context.add_cookies([session])
    addresses = [
        url(Booking, "changelist"),
        url(Booking, "change", notification.booking.pk),
        f"/notifications/{notification.pk}/",
    ]
    for count, address in enumerate(addresses, start=1):
        page.goto(address)
        expect(page.locator("body")).to_contain_text(MASKED)
        expect(page.locator("body")).not_to_contain_text(WHOLE)
        page.get_by_role("button", name="show").click()
        expect(page.locator("body")).to_contain_text(WHOLE)
        assert StaffAct.objects.filter(kind=ActKind.REVEALED).count() == count
    assert complaints == []


def test_enter_in_the_form_saves_it_and_shows_no_number(page, session, notification):
    page.context.add_cookies([session])
    page.goto(url(Booking, "change", notification.booking.pk))
    page.get_by_label("Customer name").fill("Mary Lamb")
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_contain_text("was changed successfully")
    assert Booking.objects.get().customer_name == "Mary Lamb"
    assert not StaffAct.objects.exists()


def test_number_opens_on_its_own_page_without_scripts(browser, live_server, session, notification):
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies([session])
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"/notifications/{notification.pk}/")
    page.get_by_role("button", name="show").click()
    expect(page.locator("#content .number")).to_have_text(WHOLE)
    page.get_by_role("link", name="Back").click()
    context.close()

"""The first page of the admin keeps itself up to date, and whoever works with the keyboard stays where they are."""

import pytest

from tests.factories import BookingFactory, SlotFactory, UserFactory, in_days

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ops_page(page):
    user = UserFactory.create(username="ops", is_superuser=True)
    user.set_password("long-enough-word")
    user.save()
    page.goto("/admin/login/")
    page.fill("[name=username]", "ops")
    page.fill("[name=password]", "long-enough-word")
    page.click("[type=submit]")
    page.wait_for_selector("[data-part=today]")
    return page


def test_a_new_booking_appears_and_the_focus_stays(ops_page, complaints, picture):
    numbers = ops_page.locator("[data-part=today] a")
    assert numbers.nth(0).inner_text() == "0"
    numbers.nth(1).focus()
    BookingFactory.create(slot=SlotFactory.create(date=in_days(0)))
    ops_page.evaluate("document.dispatchEvent(new Event('refresh'))")
    ops_page.wait_for_function(
        "document.querySelector('[data-part=today] a').textContent.trim() === '1'"
    )
    assert numbers.nth(1).evaluate("link => link === document.activeElement")
    picture(ops_page, "dashboard")
    assert complaints == []

"""Pages that refresh themselves keep the keyboard focus."""

import pytest
from playwright.sync_api import expect

from bookings.models import Batch, Booking
from bookings.notifications import batches
from tests.factories import BookingFactory, SlotFactory, UserFactory, in_days
from tests.flow.admin.pages import url
from tests.processes import VIRTUAL_NUMBER

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


def test_focus_stays_on_the_button_when_a_colleague_pauses_the_batch(ops_page, complaints):
    BookingFactory.create(slot=SlotFactory.create(date=in_days(3)))
    user = UserFactory.create()
    batch = batches.start_batch(
        Booking.objects.all(), nonce="nonce", user=user, sender=VIRTUAL_NUMBER
    )
    ops_page.goto(url(Batch, "change", batch.pk))
    cancel = ops_page.get_by_role("button", name="Cancel remaining messages")
    cancel.focus()
    batches.pause_batch(batch, user)
    ops_page.evaluate("document.dispatchEvent(new Event('refresh'))")
    expect(ops_page.get_by_role("button", name="Resume")).to_be_visible()
    expect(cancel).to_be_focused()
    assert complaints == []

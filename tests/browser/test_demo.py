"""The card "Try it": a reply on its phone changes the timeline beside it."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from playwright.sync_api import expect

from bookings.models import SlotChange
from bookings.web.demo import FIRST_CUSTOMER, PREFIX
from bookings.web.demo.accounts import ensure_users
from tests.factories import BookingFactory, NotificationFactory, OutboundMessageFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def booking(settings):
    settings.DEBUG = True
    # Another test can have emptied the tables, and so the groups of the migration.
    import_module("bookings.migrations.0002_groups").make_groups(apps, connection.schema_editor())
    ensure_users()
    booking = BookingFactory.create(reference=f"{PREFIX}101", customer_name=FIRST_CUSTOMER)
    notification = NotificationFactory.create(booking=booking)
    OutboundMessageFactory.create(notification=notification)
    return booking


def test_reply_on_the_card_changes_the_timeline_beside_it(page, booking, complaints, picture):
    page.goto("/admin/login/")
    picture(page, "demo-login")
    page.get_by_role("button", name="dispatch").click()
    timeline = page.get_by_role("region", name=f"Timeline of {booking.reference}")
    expect(timeline).to_contain_text(f"{booking.reference} is planned for {booking.slot}")
    page.get_by_role("form", name="Reply as the customer").get_by_role("button", name="2").click()
    expect(timeline).to_contain_text("“2”")
    change = SlotChange.objects.get()
    expect(timeline).to_contain_text(f"Moved to {change.to_slot}")
    expect(page.get_by_role("log", name="Texts")).to_contain_text("2")
    picture(page, "demo-card")
    assert complaints == []

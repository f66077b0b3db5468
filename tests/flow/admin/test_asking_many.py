"""Asking many customers at once."""

import re

import pytest
from django.test import Client

from bookings.admin import asking
from bookings.models import (
    Booking,
    Consent,
    Notification,
    OutboundMessage,
)
from tests.factories import (
    BookingFactory,
    NotificationFactory,
    SlotFactory,
    in_days,
)
from tests.flow.admin.pages import choose, login, url

pytestmark = pytest.mark.django_db


def hidden_fields(html: str) -> dict[str, str]:
    form = html[html.index('class="confirm"') :]
    return dict(re.findall(r'name="(bookings|nonce|sender)" value="([^"]*)"', form))


def test_the_confirmation_page_says_who_will_be_texted_what_and_who_not_and_why(dispatcher):
    fine = BookingFactory.create(reference="FINE", msisdn="447700900001")
    out = BookingFactory.create(reference="OUT")
    Consent.objects.create(msisdn=out.msisdn, is_opted_out=True)
    waiting = NotificationFactory.create(booking__reference="WAITING").booking

    html = choose(dispatcher, [fine, out, waiting]).content.decode()

    assert "1 customer will be texted" in html
    assert "+44 •••••• 0001" in html
    assert "Acme: your parcel FINE" in html
    refused = html[html.index("2 will not be texted") :]
    assert "opted out" in refused
    assert "can still answer until" in refused
    assert not OutboundMessage.objects.exists()


def test_confirmed_customers_are_texted_once_though_the_page_is_submitted_twice(dispatcher):
    bookings = BookingFactory.create_batch(3)
    fields = hidden_fields(choose(dispatcher, bookings).content.decode())

    first = dispatcher.post(url(Booking, "notify"), fields, follow=True)
    second = dispatcher.post(url(Booking, "notify"), fields, follow=True)

    assert "Texts queued: 3." in first.content.decode()
    assert "3 not texted again" in second.content.decode()
    assert OutboundMessage.objects.count() == 3
    assert {row.asked_by is not None for row in Notification.objects.all()} == {True}


def test_a_customer_who_was_asked_since_the_page_was_shown_is_left_out(dispatcher):
    booking = BookingFactory.create()
    fields = hidden_fields(choose(dispatcher, [booking]).content.decode())
    NotificationFactory.create(booking=booking)
    page = dispatcher.post(url(Booking, "notify"), fields, follow=True)
    assert "can still answer until" in page.content.decode()
    assert not OutboundMessage.objects.exists()


def test_one_customer_is_asked_from_the_page_of_the_booking(dispatcher):
    booking = BookingFactory.create()
    page = dispatcher.post(url(Booking, "notify"), {"bookings": str(booking.pk)})
    assert "1 customer will be texted" in page.content.decode()


def test_too_many_at_once_are_refused_in_a_sentence(dispatcher, monkeypatch):
    monkeypatch.setattr(asking, "MOST_AT_ONCE", 2)
    page = choose(dispatcher, BookingFactory.create_batch(3)).url
    html = dispatcher.get(page).content.decode()
    assert "3 bookings are chosen, and at most 2 can be notified at once" in html
    assert not OutboundMessage.objects.exists()


def test_asking_needs_a_post_with_a_token():
    booking = BookingFactory.create()
    client = login("Dispatch")
    assert client.get(url(Booking, "notify")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(url(Booking, "notify"), {"bookings": booking.pk}).status_code == 403


def test_a_form_without_a_number_of_its_own_asks_again_instead_of_sending(dispatcher):
    booking = BookingFactory.create()
    fields = {"bookings": str(booking.pk), "nonce": "x", "sender": "447700900000"}
    page = dispatcher.post(url(Booking, "notify"), fields)
    assert "1 customer will be texted" in page.content.decode()
    assert not OutboundMessage.objects.exists()


def test_two_parcels_on_one_phone_are_asked_with_the_digits_that_were_shown(dispatcher):
    later = SlotFactory.create(date=in_days(5))
    first = BookingFactory.create(msisdn="447700900001", slot=later)  # listed after the second
    second = BookingFactory.create(msisdn=first.msisdn)
    page = choose(dispatcher, [first, second])
    shown = {one.plan.booking.pk: one.plan.text for one in page.context["asked"]}

    dispatcher.post(url(Booking, "notify"), hidden_fields(page.content.decode()))

    sent = dict(OutboundMessage.objects.values_list("booking_id", "text"))
    assert sent == shown
    digits = {option.digit for row in Notification.objects.all() for option in row.options.all()}
    assert digits == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("sender", ["447700900555", "ACME"])
def test_nothing_is_sent_from_a_number_that_is_not_ours(sender, dispatcher):
    fields = hidden_fields(choose(dispatcher, [BookingFactory.create()]).content.decode())
    dispatcher.post(url(Booking, "notify"), fields | {"sender": sender})
    assert not OutboundMessage.objects.exists()


def test_staff_pick_the_number_to_send_from_where_there_are_several(dispatcher, settings):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900099"]
    booking = BookingFactory.create()
    html = choose(dispatcher, [booking]).content.decode()
    assert "+44 7700 900099" in html
    dispatcher.post(url(Booking, "notify"), hidden_fields(html) | {"sender": "447700900099"})
    assert OutboundMessage.objects.get().sender == "447700900099"

"""Dispatch moves or cancels many deliveries at once, and says how the customers learn of it."""

import datetime as dt
import re

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.models import (
    Booking,
    BookingState,
    ClosedDay,
    Kind,
    Notification,
    NotificationState,
    OutboundMessage,
    SlotChange,
    StaffAct,
)
from tests.factories import BookingFactory, NotificationFactory, SlotFactory, UserFactory, in_days
from tests.flow.admin.pages import form_of, save, url

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def open_page(client, bookings, action="move_bookings"):
    act = {"action": action, "_selected_action": [booking.pk for booking in bookings]}
    return client.post(url(Booking, "changelist"), act)


def fields_of(page) -> dict:
    html = page.content.decode()
    pairs = re.findall(r'name="(booking|seen-\d+)" value="([^"]*)"', html)
    seen = {name: value for name, value in pairs if name != "booking"}
    return seen | {"booking": [value for name, value in pairs if name == "booking"]}


def carry_out(client, fields, what="move", **more) -> str:
    address = reverse(f"admin:bookings_booking_{what}")
    return str(client.post(address, fields | more, follow=True).content.decode())


@pytest.fixture
def wanted():
    return SlotFactory.create(date=in_days(5), capacity=2)


def test_bulk_move_moves_and_texts_fitting_bookings_and_names_the_others(dispatcher, wanted):
    bookings = [NotificationFactory.create().booking for _ in range(3)]
    page = open_page(dispatcher, bookings)
    assert "room for 2 of 3" in page.content.decode()

    html = carry_out(dispatcher, fields_of(page), slot=wanted.pk, told="sms")

    assert "Deliveries moved: 2." in html
    assert re.search(r"P-\d+ was not changed: Slot full \(2 of 2\)", html)
    assert wanted.bookings.count() == 2
    texts = OutboundMessage.objects.filter(kind=Kind.TOLD)
    assert set(texts.values_list("booking__slot", flat=True)) == {wanted.pk}
    assert texts.count() == 2
    assert Notification.objects.filter(state=NotificationState.WITHDRAWN).count() == 2


def test_a_page_that_comes_twice_moves_and_tells_once(dispatcher, wanted):
    booking = BookingFactory.create()
    before = booking.slot
    fields = fields_of(open_page(dispatcher, [booking]))
    carry_out(dispatcher, fields, slot=wanted.pk, told="sms")
    booking.refresh_from_db()
    save(dispatcher, booking, slot=before.pk)

    html = carry_out(dispatcher, fields, slot=wanted.pk, told="sms")

    assert "changed since the page was opened" in html
    assert OutboundMessage.objects.filter(kind=Kind.TOLD).count() == 1
    assert SlotChange.objects.count() == 2


def test_bulk_move_moves_and_names_customers_who_cannot_be_texted(dispatcher, wanted):
    booking = BookingFactory.create()
    consent.change(booking.msisdn, is_opted_out=True, words="STOP")
    page = open_page(dispatcher, [booking])
    assert "1 cannot be texted" in page.content.decode()
    html = carry_out(dispatcher, fields_of(page), slot=wanted.pk, told="sms")
    assert "was not told. The customer has opted out" in html
    assert wanted.bookings.get() == booking
    assert not OutboundMessage.objects.exists()


def test_many_are_asked_again_about_the_new_slot(dispatcher, wanted):
    booking = NotificationFactory.create().booking
    carry_out(dispatcher, fields_of(open_page(dispatcher, [booking])), slot=wanted.pk, told="ask")
    assert Notification.objects.open().get().slot == wanted
    assert OutboundMessage.objects.get().kind == Kind.NOTIFICATION


@pytest.mark.parametrize("told", ["sms", "ask"])
def test_user_without_notify_permission_texts_nobody_by_a_move_or_cancellation(told, wanted):
    user, booking = UserFactory.create(), BookingFactory.create()
    may = ("view_booking", "change_booking")
    user.user_permissions.set(Permission.objects.filter(codename__in=may))
    client = Client()
    client.force_login(user)
    for action, what, to in (
        ("move_bookings", "move", wanted.pk),
        ("cancel_bookings", "cancel", ""),
    ):
        page = open_page(client, [booking], action)
        assert "By SMS</span>" not in page.text
        html = carry_out(client, fields_of(page), what, slot=to, told=told)
        assert "Choose how to tell the customers." in html
    page = save(client, booking, slot=wanted.pk, told=told)
    assert f"{told} is not one of the available choices" in page.text
    assert not OutboundMessage.objects.exists()
    assert not SlotChange.objects.exists()
    assert save(client, booking, slot=wanted.pk, told="phone").status_code == 302


@pytest.mark.parametrize(
    ("told", "texts", "acts"), [("sms", 2, 0), ("phone", 0, 2), ("nobody", 0, 0)]
)
def test_many_are_cancelled(told, texts, acts, dispatcher):
    bookings = BookingFactory.create_batch(2)
    page = open_page(dispatcher, bookings, "cancel_bookings")
    html = carry_out(dispatcher, fields_of(page), "cancel", told=told)
    assert "Deliveries cancelled: 2." in html
    assert Booking.objects.filter(state=BookingState.CANCELLED).count() == 2
    assert OutboundMessage.objects.filter(text__contains="is cancelled").count() == texts
    assert StaffAct.objects.filter(kind="told_by_phone").count() == acts
    assert ("was not told. Call them" in html) == (told == "nobody")


def test_a_cancelling_page_that_comes_again_after_the_delivery_is_on_again_does_nothing(dispatcher):
    booking = BookingFactory.create()
    fields = fields_of(open_page(dispatcher, [booking], "cancel_bookings"))
    carry_out(dispatcher, fields, "cancel", told="sms")
    dispatch.reinstate(booking)

    html = carry_out(dispatcher, fields, "cancel", told="sms")

    assert "changed since the page was opened" in html
    booking.refresh_from_db()
    assert booking.is_scheduled
    assert OutboundMessage.objects.filter(text__contains="is cancelled").count() == 1
    assert StaffAct.objects.get().kind == "called_off"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"told": "sms"}, "Choose a slot first"), ({"slot": "yes"}, "Choose how")],
)
def test_incomplete_bulk_form_names_the_missing_field_and_keeps_the_rest(
    given, sentence, dispatcher, wanted
):
    bookings = BookingFactory.create_batch(2)
    given = {name: wanted.pk if value == "yes" else value for name, value in given.items()}
    fields = fields_of(open_page(dispatcher, bookings))
    html = carry_out(dispatcher, fields, **given)
    assert sentence in html
    assert html.count('name="booking"') == 2
    assert not SlotChange.objects.exists()


def test_the_page_makes_no_more_queries_for_more_deliveries(dispatcher, wanted):
    counts = []
    for bookings in (BookingFactory.create_batch(1), BookingFactory.create_batch(15)):
        with CaptureQueriesContext(connection) as queries:
            open_page(dispatcher, bookings)
        counts.append(len(queries))
    assert counts[1] <= counts[0] <= 28


@pytest.mark.parametrize(
    ("language", "place_holder"),
    [
        ("en", "is moved to [the new day and time]."),
        ("es", "pasa a: [la nueva fecha y hora]."),
        ("fr", "est déplacé: [nouvelle date et heure]."),
        ("de", "ist verlegt: [neuer Tag und neue Uhrzeit]."),
        ("nl", "is verplaatst: [nieuwe dag en tijd]."),
        ("pl", "ma nowy termin: [nowy dzien i godzina]."),
        ("xx", "is moved to [the new day and time]."),
    ],
)
def test_the_text_that_is_shown_is_wholly_in_the_language_of_its_customer(
    dispatcher, language, place_holder
):
    booking = BookingFactory.create(language=language)
    assert place_holder in open_page(dispatcher, [booking]).content.decode()


@pytest.mark.parametrize(
    ("language", "place_holder"),
    [("en", "is planned for [its day and time]."), ("es", "esta previsto: [su fecha y hora].")],
)
def test_form_of_a_cancelled_booking_shows_the_text_in_the_customers_language(
    dispatcher, language, place_holder
):
    booking = BookingFactory.create(language=language)
    dispatch.cancel(booking)
    form = dispatcher.get(url(Booking, "change", booking.pk)).context["adminform"].form
    assert place_holder in form.fields["told"].help_text


# The form of one booking


def test_form_shows_the_text_and_sends_it_to_asked_customers(dispatcher, wanted):
    booking = NotificationFactory.create().booking
    OutboundMessage.objects.all().delete()
    form = dispatcher.get(url(Booking, "change", booking.pk)).context["adminform"].form
    assert form.initial["told"] == "sms"
    assert "is moved to [the new day and time]" in form.fields["told"].help_text

    save(dispatcher, booking, slot=wanted.pk, told="sms")

    assert "is moved to" in OutboundMessage.objects.get().text
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    assert "Message from dispatch sent" in html


def test_a_form_that_comes_again_after_a_move_there_and_back_changes_nothing(dispatcher, wanted):
    booking = BookingFactory.create()
    before, form = booking.slot, form_of(booking, slot=wanted.pk)
    dispatcher.post(url(Booking, "change", booking.pk), form)
    dispatch.move(booking, before)
    page = dispatcher.post(url(Booking, "change", booking.pk), form)
    assert "changed while you had it open" in " ".join(map(str, page.context["errors"]))
    booking.refresh_from_db()
    assert booking.slot == before


def test_a_delivery_that_is_on_again_is_told_so(dispatcher):
    booking = BookingFactory.create()
    save(dispatcher, booking, cancelled="on", told="phone")
    booking.refresh_from_db()
    fields = form_of(booking, told="sms")
    del fields["cancelled"]
    dispatcher.post(url(Booking, "change", booking.pk), fields)
    assert "is planned for" in OutboundMessage.objects.get().text
    assert StaffAct.objects.get(kind="told_by_phone").booking == booking


def test_the_form_asks_again_about_the_new_slot(dispatcher, wanted):
    booking = NotificationFactory.create().booking
    save(dispatcher, booking, slot=wanted.pk, told="ask")
    assert Notification.objects.open().get().slot == wanted


def test_form_refuses_a_text_to_an_unreachable_customer(dispatcher, wanted):
    booking = BookingFactory.create(msisdn="442079460123")
    page = save(dispatcher, booking, slot=wanted.pk, told="sms")
    assert "cannot receive SMS" in " ".join(map(str, page.context["errors"]))
    assert not SlotChange.objects.exists()


def test_a_notification_that_cannot_be_asked_any_more_is_refused_and_nothing_changes(
    dispatcher, settings
):
    settings.CHANGE_CUTOFF_HOURS = 72
    booking, soon = BookingFactory.create(), SlotFactory.create(date=in_days(1))
    page = save(dispatcher, booking, slot=soon.pk, told="ask")
    assert "too late to change" in " ".join(map(str, page.context["errors"]))
    assert not SlotChange.objects.exists()


def test_slots_of_the_last_day_can_be_chosen_where_a_day_has_many(dispatcher):
    booking = BookingFactory.create()
    windows = [(dt.time(hour), dt.time(hour + 1)) for hour in range(8, 16)]
    for day in range(1, 15):
        for start, end in windows:
            SlotFactory.create(date=in_days(day), window_start=start, window_end=end)
    page = open_page(dispatcher, [booking])
    assert max(choice.slot.date for choice in page.context["choices"]) == in_days(14)


def test_many_are_not_moved_to_a_day_that_is_closed(dispatcher):
    closed, open_one = (SlotFactory.create(date=in_days(ahead)) for ahead in (4, 5))
    ClosedDay.objects.create(date=closed.date)
    page = open_page(dispatcher, [BookingFactory.create()])
    assert [choice.slot for choice in page.context["choices"]] == [open_one]

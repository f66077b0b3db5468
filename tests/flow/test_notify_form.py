"""The notify form: its permissions, its preview, and one SMS for each form."""

import datetime as dt
import html
import re
import threading
import uuid

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from bookings.models import (
    Booking,
    Consent,
    MessageState,
    Notification,
    OutboundMessage,
    Slot,
    SlotOption,
)
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SlotFactory,
    UserFactory,
    in_days,
)

FETCH = {"X-Requested-With": "fetch"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def dispatcher():
    user = UserFactory.create()
    codenames = ["notify_booking", "add_booking"]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def staff(client, dispatcher):
    client.force_login(dispatcher)
    return client


@pytest.fixture
def slot():
    return SlotFactory.create()


@pytest.fixture
def fields(slot):
    return {"number": "07700 900123", "slot": slot.pk, "nonce": uuid.uuid4().hex}


def words(response):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def previewed(response):
    (text,) = re.findall(r"data-text>([^<]*)<", response.text)
    return html.unescape(text)


def nothing_is_stored():
    return not (Booking.objects.exists() or OutboundMessage.objects.exists())


@pytest.mark.parametrize("path", ["/", "/notify", "/notify/preview", "/notifications/1/"])
def test_a_stranger_is_sent_to_the_login(client, path):
    assert client.get(path).url.startswith("/admin/login/")
    assert client.post(path).url.startswith("/admin/login/")


@pytest.mark.parametrize("has", [[], ["add_booking"], ["notify_booking"]], ids=str)
def test_staff_without_both_rights_are_turned_away(client, fields, has):
    user = UserFactory.create()
    user.user_permissions.set(Permission.objects.filter(codename__in=has))
    client.force_login(user)
    assert client.get("/").url == "/admin/"
    assert client.post("/notify", fields).status_code == 403
    assert client.post("/notify/preview", fields).status_code == 403
    assert nothing_is_stored()


def test_a_customer_account_with_the_rights_is_no_staff(client, dispatcher):
    dispatcher.is_staff = False
    dispatcher.save()
    client.force_login(dispatcher)
    assert client.get("/").status_code == 403


@pytest.mark.parametrize(("group", "status"), [("Dispatch", 200), ("Ops", 302)])
def test_dispatch_may_notify_and_ops_are_sent_to_the_admin(client, group, status):
    user = UserFactory.create()
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    assert client.get("/").status_code == status


@pytest.mark.parametrize("path", ["/notify", "/notify/preview"])
def test_a_post_without_a_csrf_token_is_refused(dispatcher, fields, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(dispatcher)
    assert client.post(path, fields).status_code == 403
    assert nothing_is_stored()


def test_the_form_comes_with_a_nonce_a_reference_and_the_next_slot(staff, slot):
    SlotFactory.create(date=in_days(4))
    SlotFactory.create(date=in_days(2), capacity=0)
    first, second = (staff.get("/").context["form"].initial for _ in range(2))
    assert first["slot"] == str(slot.pk)
    assert first["nonce"] != second["nonce"]
    assert first["reference"] != second["reference"]


def test_slots_that_are_full_or_over_are_not_offered(staff, slot):
    full = SlotFactory.create(date=in_days(4), capacity=1)
    BookingFactory.create(slot=full)
    over = SlotFactory.create(date=in_days(0), window_start="00:00", window_end="00:01")
    values = [value for value, _ in staff.get("/").context["form"].fields["slot"].widget.choices]
    assert values == [str(slot.pk), "another"]
    assert str(over.pk) not in values


@pytest.mark.parametrize(
    ("typed", "msisdn"),
    [
        ("07700 900123", "447700900123"),
        ("+44 7700 900123", "447700900123"),
        ("0044 7700 900 123", "447700900123"),
        ("(07700) 900-123", "447700900123"),
        ("\u200e+1 (202) 555-0101 ", "12025550101"),
        ("+49 1512 3456789", "4915123456789"),
    ],
)
def test_a_number_is_taken_in_any_usual_formatting(staff, fields, typed, msisdn):
    response = staff.post("/notify", fields | {"number": typed})
    assert response.status_code == 302, words(response)
    assert Booking.objects.get().msisdn == msisdn
    assert OutboundMessage.objects.get().msisdn == msisdn


def test_one_form_makes_the_booking_its_notification_and_its_sms(staff, dispatcher, fields, slot):
    response = staff.post("/notify", fields | {"name": "Ana Torres", "reference": "P-77"})
    notification = Notification.objects.get()
    assert response.url == f"/notifications/{notification.pk}/"
    assert notification.asked_by == dispatcher
    booking = notification.booking
    assert (booking.reference, booking.customer_name, booking.slot) == ("P-77", "Ana Torres", slot)
    message = OutboundMessage.objects.get()
    assert message.notification == notification
    assert message.state == MessageState.QUEUED
    assert "P-77" in message.text


@pytest.mark.parametrize("reference", ["", "P-77", "Päckchen"], ids=["made up", "GSM-7", "UCS-2"])
def test_preview_equals_the_sent_text(staff, fields, reference):
    fields |= {"reference": reference}
    preview = staff.post("/notify/preview", fields, headers=FETCH)
    assert nothing_is_stored()
    staff.post("/notify", fields)
    message = OutboundMessage.objects.get()
    assert previewed(preview) == message.text
    assert f"{message.parts} SMS part" in words(preview)
    options = SlotOption.objects.filter(notification=message.notification)
    assert re.findall(r"<kbd>(\d)</kbd>", preview.text) == [str(o.digit) for o in options]


def test_the_preview_of_the_first_page_is_sent_too(staff, slot):
    initial = staff.get("/").context["form"].initial
    fields = initial | {"number": "07700900123"}
    preview = staff.post("/notify/preview", fields, headers=FETCH)
    staff.post("/notify", fields)
    assert previewed(preview) == OutboundMessage.objects.get().text


@pytest.mark.parametrize(
    ("reference", "encoding", "costly"),
    [("P-77", "GSM-7", ""), ("P-\u0142", "Unicode (UCS-2)", "\u0142")],
)
def test_preview_names_the_encoding_and_costly_characters(
    staff, fields, reference, encoding, costly
):
    response = staff.post("/notify/preview", fields | {"reference": reference}, headers=FETCH)
    assert f"Encoding {encoding}" in words(response)
    assert ("make the message cost more" in words(response)) == bool(costly)


def test_without_scripts_the_preview_is_a_page_with_everything_typed(staff, fields):
    response = staff.post("/notify/preview", fields | {"name": "Ana <b>"})
    assert 'value="Ana &lt;b&gt;"' in response.text
    assert 'value="07700 900123"' in response.text
    assert previewed(response).startswith("Acme: ")
    assert nothing_is_stored()


def test_a_preview_of_half_a_form_does_not_complain_of_the_other_half(staff, fields):
    response = staff.post("/notify/preview", fields | {"number": ""}, headers=FETCH)
    assert "to see the text" in words(response)
    response = staff.post("/notify/preview", fields | {"number": "abc"}, headers=FETCH)
    assert "is not a phone number" in words(response)


def test_another_day_makes_its_slot(staff, fields):
    day = in_days(9)
    other = {"slot": "another", "date": day, "window_start": "18:00", "window_end": "20:30"}
    preview = staff.post("/notify/preview", fields | other, headers=FETCH)
    assert Slot.objects.count() == 1
    assert staff.post("/notify", fields | other).status_code == 302
    booked = Booking.objects.get().slot
    assert (booked.date, booked.window_start, booked.window_end) == (
        day,
        dt.time(18),
        dt.time(20, 30),
    )
    assert previewed(preview) == OutboundMessage.objects.get().text


def test_another_day_that_is_a_slot_already_is_that_slot(staff, fields, slot):
    other = {
        "slot": "another",
        "date": slot.date,
        "window_start": slot.window_start,
        "window_end": slot.window_end,
    }
    staff.post("/notify", fields | other)
    assert Booking.objects.get().slot == slot


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"number": ""}, "Enter the customer's phone number"),
        ({"number": "12"}, "too short"),
        ({"number": "hello"}, "is not a phone number"),
        ({"number": "020 7946 0000"}, "cannot receive SMS"),
        ({"slot": ""}, "Choose a slot"),
        ({"slot": "999999"}, "no such slot"),
        ({"slot": "\u00b2"}, "no such slot"),
        ({"slot": "another"}, "Enter the day, and the window"),
        ({"slot": "another", "date": "tomorrow"}, "Enter a valid date"),
        (
            {
                "slot": "another",
                "date": "2020-01-01",
                "window_start": "09:00",
                "window_end": "10:00",
            },
            "too late for this slot",
        ),
        (
            {
                "slot": "another",
                "date": "2999-01-01",
                "window_start": "09:00",
                "window_end": "10:00",
            },
            "more than a year ahead",
        ),
        (
            {
                "slot": "another",
                "date": "2999-01-01",
                "window_start": "10:00",
                "window_end": "09:00",
            },
            "must end after it starts",
        ),
        ({"reference": "TAKEN"}, "A booking with the reference TAKEN"),
        ({"reference": "x" * 41}, "at most 40 characters"),
    ],
    ids=str,
)
def test_bad_input_is_named_and_nothing_typed_is_lost(staff, fields, change, complaint):
    taken = BookingFactory.create(reference="TAKEN")
    typed = fields | {"name": "Ana Torres", "reference": "P-77"} | change
    response = staff.post("/notify", typed)
    assert response.status_code == 400
    assert complaint in words(response)
    for name in ("number", "name", "reference", "nonce"):
        assert response.context["form"][name].value() == typed[name]
    assert list(Booking.objects.all()) == [taken]
    assert not OutboundMessage.objects.exists()


def test_a_full_slot_is_refused(staff, fields):
    full = SlotFactory.create(date=in_days(5), capacity=1)
    BookingFactory.create(slot=full)
    response = staff.post("/notify", fields | {"slot": full.pk})
    assert response.status_code == 400
    assert "full" in words(response)


def test_a_customer_who_has_opted_out_is_neither_booked_nor_texted(staff, fields):
    Consent.objects.create(msisdn="447700900123", is_opted_out=True)
    response = staff.post("/notify", fields)
    assert response.status_code == 400
    assert "opted out" in words(response)
    assert nothing_is_stored()


@pytest.mark.parametrize("nonce", [None, "", "   ", "n" * 65, "a\0b"], ids=repr)
def test_a_form_without_a_usable_nonce_comes_back_with_a_fresh_one(staff, fields, nonce):
    typed = {**fields, "nonce": nonce} if nonce is not None else fields | {}
    if nonce is None:
        del typed["nonce"]
    response = staff.post("/notify", typed)
    assert response.status_code == 400
    assert nothing_is_stored()
    fresh = response.context["form"]["nonce"].value()
    assert len(fresh) >= 20
    assert staff.post("/notify", fields | {"nonce": fresh}).status_code == 302


def test_the_same_form_twice_sends_one_and_shows_the_first(staff, fields):
    first = staff.post("/notify", fields)
    second = staff.post("/notify", fields, follow=True)
    assert second.redirect_chain == [(first.url, 302)]
    assert "Nothing was sent again" in words(second)
    assert Booking.objects.count() == OutboundMessage.objects.count() == 1


def test_two_forms_with_the_same_content_are_two_deliveries(staff, fields):
    staff.post("/notify", fields)
    staff.post("/notify", fields | {"nonce": "another"})
    assert Booking.objects.count() == OutboundMessage.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_double_click_at_the_same_instant_sends_one(dispatcher, fields):
    clients = [Client() for _ in range(3)]
    for client in clients:
        client.force_login(dispatcher)
    meet, answers = threading.Barrier(len(clients)), []

    def click(client):
        meet.wait()
        answers.append(client.post("/notify", fields))
        connection.close()

    threads = [threading.Thread(target=click, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notification = Notification.objects.get()
    assert {answer.url for answer in answers} == {f"/notifications/{notification.pk}/"}
    assert Booking.objects.count() == OutboundMessage.objects.count() == 1


def test_the_address_of_a_refused_form_opens_an_empty_one(staff):
    assert staff.get("/notify").url == "/"


def test_the_progress_page_follows_the_text_and_the_answer(staff, fields):
    path = staff.post("/notify", fields).url
    page = staff.get(path)
    assert "Waiting to be sent" in words(page)
    assert "/simulator/447700900123/" in page.text

    message = OutboundMessage.objects.get()
    message.call_started_at, message.state = timezone.now(), MessageState.SUBMITTED
    message.save()
    piece = staff.get(path, headers=FETCH)
    assert "<html" not in piece.text
    assert "Sent" in words(piece)
    assert "No receipt yet" in words(piece)
    assert "Waiting to be sent" not in words(piece)

    message.state = MessageState.DELIVERED
    message.save()
    reply = InboundMessageFactory.create(notification=message.notification, text="2 <please>")
    OutboundMessageFactory.create(
        kind="acknowledgement", in_reply_to=reply, text="Acme: your parcel is moved."
    )
    piece = words(staff.get(path, headers=FETCH))
    assert "Delivered" in piece
    assert "No receipt yet" not in piece
    assert "2 <please>" in piece
    assert "Outcome: moved" in piece
    assert "Acme: your parcel is moved." in piece


def test_the_progress_page_says_why_a_text_failed(staff, fields):
    path = staff.post("/notify", fields).url
    message = OutboundMessage.objects.get()
    SendAttemptFactory.create(message=message, verdict="refused")
    OutboundMessage.objects.update(
        state=MessageState.FAILED, call_started_at=timezone.now(), reason="The number is barred."
    )
    page = words(staff.get(path))
    assert "Not delivered" in page
    assert "The number is barred." in page


def test_a_notification_that_is_not_there_is_not_found(staff):
    assert staff.get("/notifications/4711/").status_code == 404

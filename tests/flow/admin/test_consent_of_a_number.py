"""One number's consent: when, by which words and by whom it changed, what it blocked; and a wish given by phone."""

import pytest
from django.urls import reverse

from bookings.customers import consent
from bookings.models import (
    ActKind,
    Booking,
    Consent,
    ConsentChange,
    MessageState,
    StaffAct,
    Ticket,
    TicketKind,
)
from tests.factories import BookingFactory, ConsentChangeFactory, OutboundMessageFactory
from tests.flow.admin.pages import login, url

pytestmark = pytest.mark.django_db

CALLED = {"wish": "out", "words": "called, wants no more texts"}
CONFIRMED = CALLED | {"confirmed": "yes"}


def page_of(row) -> str:
    name = "of_booking" if isinstance(row, Booking) else "number"
    return url(ConsentChange, name, row.pk)


@pytest.fixture
def asked(ask):
    booking = BookingFactory.create()
    ask(booking)
    return booking


def test_f7_consent_page_shows_each_change_and_a_blocked_send(asked, reply, report, network, drain):
    ops = login("Ops")
    blocked = reply(asked.msisdn, "2").answers.get()
    out = reply(asked.msisdn, "Stop!")
    reply(asked.msisdn, "start")
    ops.post(page_of(asked), CONFIRMED)
    reply(asked.msisdn, "START")
    report(network.posts[0], "failed", err_code="9")
    page = ops.get(page_of(asked))
    text = page.content.decode()
    changes = list(ConsentChange.objects.filter(msisdn=asked.msisdn).order_by("pk"))
    assert [change.is_opted_out for change in changes] == [True, False, True, False, True]
    assert list(page.context["changes"]) == changes[::-1]
    for words in ("Stop!", "called, wants no more texts", "asked not to receive texts"):
        assert words in text
    assert changes[0].inbound == out
    assert url(type(out), "change", out.pk) in text
    assert f"{changes[2].user}" in text
    assert "this receipt" in text
    assert "(error code 9)" in text
    assert "No messages are sent to this number" in text
    blocked.refresh_from_db()
    assert blocked.state == MessageState.CANCELLED
    assert blocked in page.context["blocked"]
    assert "cancelled: the customer opted out" in text
    assert asked.msisdn not in text


def test_a_wish_given_by_phone_is_asked_once_more_and_then_holds(asked, reply, drain):
    waiting = reply(asked.msisdn, "2").answers.get()
    dispatcher = login("Dispatch")
    asks = dispatcher.post(page_of(asked), CALLED)
    assert "Opt +" in asks.content.decode()
    assert not ConsentChange.objects.exists()
    dispatcher.post(page_of(asked), CONFIRMED)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.reason) == (MessageState.CANCELLED, "the customer opted out")
    change = ConsentChange.objects.get()
    assert (change.is_opted_out, change.words) == (True, CALLED["words"])
    act = StaffAct.objects.get(kind=ActKind.CONSENT)
    assert (act.user, act.msisdn) == (change.user, asked.msisdn)
    assert drain() == []
    dispatcher.post(page_of(asked), CONFIRMED)  # a double click
    assert ConsentChange.objects.count() == StaffAct.objects.count() == 1
    dispatcher.post(page_of(change), CONFIRMED | {"wish": "in", "words": "called again"})
    assert not Consent.objects.is_opted_out(asked.msisdn)


def test_a_number_that_stands_on_no_page_is_written_and_masked_afterwards():
    dispatcher = login("Dispatch")
    page = dispatcher.post(
        reverse("admin:bookings_consentchange_record"),
        CONFIRMED | {"number": "07700 900123"},
        follow=True,
    )
    assert Consent.objects.is_opted_out("447700900123")
    assert "447700900123" not in page.content.decode()
    assert page.redirect_chain[0][0] == page_of(ConsentChange.objects.get())


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"words": " "}, "Enter the reason"),
        ({"wish": ""}, "Choose the new status"),
        ({"number": ""}, "Enter the phone number"),
        ({"number": "12"}, "too short"),
        ({"words": "x" * 201}, "200 characters"),
    ],
)
def test_incomplete_form_names_the_missing_field_and_records_nothing(missing, sentence):
    page = login("Dispatch").post(
        reverse("admin:bookings_consentchange_record"),
        CONFIRMED | {"number": "07700 900123"} | missing,
    )
    assert sentence in page.content.decode()
    assert not Consent.objects.exists()


def test_a_ticket_leads_to_its_number(asked, reply):
    inbound = reply(asked.msisdn, "stop")
    ticket = Ticket.objects.create(
        kind=TicketKind.WANTS_OUT, reason="Wants out?", msisdn=asked.msisdn, inbound=inbound
    )
    page = login("Dispatch").get(url(ConsentChange, "of_ticket", ticket.pk))
    assert len(page.context["changes"]) == 1
    Ticket.objects.filter(pk=ticket.pk).update(msisdn="MTN")
    page = login("Dispatch").get(url(ConsentChange, "of_ticket", ticket.pk))
    assert "Record an opt-out" not in page.content.decode()


def test_the_booking_and_the_list_lead_to_it(asked, reply):
    reply(asked.msisdn, "stop")
    dispatcher = login("Dispatch")
    assert page_of(asked) in dispatcher.get(url(Booking, "change", asked.pk)).content.decode()
    change = ConsentChange.objects.get()
    listed = dispatcher.get(url(ConsentChange, "changelist")).content.decode()
    assert page_of(change) in listed
    assert reverse("admin:bookings_consentchange_record") in listed


def test_consent_page_takes_constant_queries(asked, django_assert_max_num_queries):
    ops = login("Ops")
    for count in (1, 20):
        ConsentChangeFactory.create_batch(count, msisdn=asked.msisdn)
        OutboundMessageFactory.create_batch(
            count, msisdn=asked.msisdn, state=MessageState.CANCELLED, reason=consent.OPTED_OUT
        )
        with django_assert_max_num_queries(16):
            ops.get(page_of(asked))

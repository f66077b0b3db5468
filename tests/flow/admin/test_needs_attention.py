"""Needs attention: the queue, the page of one, and what a person does there."""

import datetime as dt
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.admin.shared.row_versions import seen_word
from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import ticket_actions
from bookings.models import (
    ActKind,
    Booking,
    Consent,
    ConsentChange,
    Kind,
    OutboundMessage,
    Settlement,
    Slot,
    StaffAct,
    Ticket,
    TicketKind,
)
from bookings.operations.invariants import find_contradictions
from bookings.reporting import timeline
from tests.factories import (
    BookingFactory,
    NotificationFactory,
    SlotFactory,
    SlotOptionFactory,
    TicketFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import login, url

pytestmark = pytest.mark.django_db

NONCE = "a-nonce-of-the-answer-form"


@pytest.fixture
def asked():
    return NotificationFactory.create()


@pytest.fixture
def ticket(asked):
    return TicketFactory.create(inbound__notification=asked)


@pytest.fixture
def colleague():
    return UserFactory.create(first_name="Mira", last_name="Ode")


def act(client, ticket, name, **fields):
    shown = seen_word(ticket.booking) if ticket.booking else ""
    page = {"act": name, "seen": ticket.pk, "shown": shown}
    return client.post(url(Ticket, "act", ticket.pk), page | fields, follow=True)


def said(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def me(client):
    return client.session["_auth_user_id"]


def test_f4_a_dispatcher_clears_a_wish_in_two_clicks(reply, drain, dispatcher):
    """ "I'm away until friday, can u do sat?": slot moved, customer informed, timeline names the dispatcher."""
    asked = NotificationFactory.create(options=1)
    saturday = SlotFactory.create(date=in_days(6))
    SlotOptionFactory.create(notification=asked, digit=2, words="Sat", slot=saturday)
    reply(asked.msisdn, "hm?")
    wish = "I'm away until friday, can u do sat?"
    reply(asked.msisdn, wish)
    queue = dispatcher.get(url(Ticket, "changelist"))
    (waiting,) = queue.context["cl"].result_list
    page = dispatcher.get(url(Ticket, "change", waiting.pk))  # the first click
    assert wish.replace("'", "&#x27;") in page.content.decode()

    option = asked.options.get(digit=2)
    done = act(dispatcher, waiting, "apply", option=option.pk)  # the second

    assert "The customer is texted." in said(done)
    booking = asked.booking
    booking.refresh_from_db()
    assert booking.slot == saturday
    assert any("is moved to" in form["text"] for form in drain())
    names = {step.title: step.who for step in timeline.timeline(booking)}
    name = str(Ticket.objects.get().settled_by)
    assert names["An option was chosen for the customer"] == name
    assert names[f"Moved to {saturday}"] == name
    assert names["Message from dispatch sent"] == name
    assert not Ticket.objects.waiting().exists()
    assert StaffAct.objects.get().kind == ActKind.APPLIED
    assert list(find_contradictions()) == []


# The queue


def test_queue_lists_oldest_first_without_settled_tickets(dispatcher):
    now = timezone.now()
    young, old = (
        TicketFactory.create(raised_at=now - dt.timedelta(hours=hours)) for hours in (1, 30)
    )
    settled = TicketFactory.create(settlement="overtaken", settled_at=now)
    page = dispatcher.get(url(Ticket, "changelist"))
    assert list(page.context["cl"].result_list) == [old, young]
    assert "1\xa0day" in page.content.decode()
    page = dispatcher.get(url(Ticket, "changelist"), {"state": "settled"})
    assert list(page.context["cl"].result_list) == [settled]


@pytest.mark.parametrize(("count", "words"), [(1, "1 ticket"), (2, "2 tickets")])
def test_queue_footer_states_the_count_in_words(dispatcher, count, words):
    TicketFactory.create_batch(count)
    html = dispatcher.get(url(Ticket, "changelist")).content.decode()
    assert words in " ".join(html.split())
    assert "<span>Needs attention</span>" in html  # so it is called in the menu


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [
        ({"owned": "mine"}, "MINE"),
        ({"owned": "nobody"}, "NOBODYS"),
        ({"owned": "others"}, "OTHERS"),
        ({"kind__exact": "late"}, "OTHERS"),
        ({"day": "tomorrow"}, "NOBODYS"),
        ({"q": "0007"}, "MINE"),
        ({"q": "NOBO"}, "NOBODYS"),
    ],
)
def test_queue_is_filtered_and_searched(asked_for, found, dispatcher, colleague):
    owners = {"MINE": me(dispatcher), "NOBODYS": None, "OTHERS": colleague.pk}
    for reference, owner in owners.items():
        booking = BookingFactory.create(
            reference=reference,
            msisdn=f"44770090{'0007' if reference == 'MINE' else owner or 8888:04}",
            slot__date=in_days(1 if reference == "NOBODYS" else 4),
        )
        kind = TicketKind.LATE if reference == "OTHERS" else TicketKind.UNCLEAR
        TicketFactory.create(
            inbound__booking=booking,
            owner_id=owner,
            taken_at=owner and timezone.now(),
            kind=kind,
        )
    page = dispatcher.get(url(Ticket, "changelist"), asked_for)
    assert [row.booking.reference for row in page.context["cl"].result_list] == [found]


@pytest.mark.parametrize("page", ["changelist", "change"])
def test_queue_page_takes_constant_queries(page, dispatcher, asked):
    def count():
        first = Ticket.objects.earliest("pk")
        address = url(Ticket, page, *([first.pk] if page == "change" else []))
        dispatcher.get(address)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert dispatcher.get(address).status_code == 200
        return len(queries)

    for _ in range(2):
        TicketFactory.create(inbound__notification=asked)
    few = count()
    for _ in range(8):
        TicketFactory.create(
            inbound__notification=asked, owner=UserFactory.create(), taken_at=timezone.now()
        )
    assert count() <= few + 1


# Acts


def test_taking_a_ticket_takes_the_others_of_its_number(dispatcher, ticket, asked):
    beside = TicketFactory.create(inbound__notification=asked)
    elsewhere = TicketFactory.create()
    act(dispatcher, ticket, "take")
    owned = Ticket.objects.exclude(owner=None)
    assert set(owned) == {ticket, beside}
    assert elsewhere not in owned
    assert StaffAct.objects.get().kind == ActKind.TOOK
    act(dispatcher, ticket, "let_go")
    assert not Ticket.objects.exclude(owner=None).exists()


@pytest.mark.parametrize(
    "name", ["take", "apply", "answer", "told_by_phone", "set_aside", "let_go"]
)
@pytest.mark.parametrize("which", ["this", "another of the number"])
def test_ticket_taken_by_a_colleague_is_left_to_them(
    name, which, dispatcher, ticket, colleague, asked
):
    theirs = ticket if which == "this" else TicketFactory.create(inbound__notification=asked)
    Ticket.objects.filter(pk=theirs.pk).update(owner=colleague, taken_at=timezone.now())
    option = asked.options.get(digit=2).pk
    response = act(dispatcher, ticket, name, option=option, words="Hello", nonce=NONCE)
    assert "Assigned to Mira Ode" in said(response)
    assert Ticket.objects.waiting().count() == Ticket.objects.count()
    assert not OutboundMessage.objects.exists()
    assert not StaffAct.objects.exists()
    asked.booking.refresh_from_db()
    assert asked.booking.slot == asked.slot


def test_ticket_taken_long_ago_can_be_taken_over(dispatcher, ticket, colleague):
    ago = timezone.now() - ticket_actions.KEPT_FOR - dt.timedelta(minutes=1)
    Ticket.objects.update(owner=colleague, taken_at=ago)
    assert "Assigned to Mira Ode" in said(act(dispatcher, ticket, "set_aside"))
    act(dispatcher, ticket, "take")
    ticket.refresh_from_db()
    assert ticket.owner_id == int(me(dispatcher))


def test_settled_ticket_names_who_settled_it(dispatcher, ticket, colleague):
    Ticket.objects.update(
        settlement=Settlement.ANSWERED, settled_at=timezone.now(), settled_by=colleague
    )
    response = act(dispatcher, ticket, "answer", words="Hello", nonce=NONCE)
    assert "Closed by Mira Ode" in said(response)
    assert said(response).endswith("answered by SMS. Nothing was changed.")
    page = dispatcher.get(url(Ticket, "change", ticket.pk)).text
    assert "Closed by Mira Ode" in page
    assert "Nothing was changed" not in page
    assert not OutboundMessage.objects.exists()


@pytest.mark.parametrize(("capacity", "why"), [(0, "Slot closed"), (1, "Slot full (1 of 1)")])
def test_an_option_that_cannot_be_had_is_refused(capacity, why, dispatcher, ticket, asked):
    slot = asked.options.get(digit=2).slot
    if capacity:
        BookingFactory.create(slot=slot)
    Slot.objects.filter(pk=slot.pk).update(capacity=capacity)
    page = dispatcher.get(url(Ticket, "change", ticket.pk)).content.decode()
    assert "Apply 2" not in page
    response = act(dispatcher, ticket, "apply", option=asked.options.get(digit=2).pk)
    assert why in said(response)
    assert Ticket.objects.waiting().get() == ticket
    assert not StaffAct.objects.exists()


def test_keeping_the_slot_texts_the_customer(dispatcher, ticket, asked):
    act(dispatcher, ticket, "apply", option=asked.options.get(digit=1).pk)
    assert "stays as planned" in OutboundMessage.objects.get().text
    assert Ticket.objects.get().settlement == Settlement.APPLIED


def test_customer_who_cannot_be_texted_waits_for_a_phone_call(dispatcher, ticket, asked):
    consent.change(asked.msisdn, is_opted_out=True, words="STOP")
    option = asked.options.get(digit=2)
    response = act(dispatcher, ticket, "apply", option=option.pk)
    assert "The customer has opted out. Call" in said(response)
    asked.booking.refresh_from_db()
    assert asked.booking.slot == option.slot
    assert Ticket.objects.waiting().get() == ticket
    act(dispatcher, ticket, "told_by_phone")
    assert Ticket.objects.get().settlement == Settlement.TOLD_BY_PHONE
    titles = [step.title for step in timeline.timeline(asked.booking)]
    assert "Customer told by phone" in titles


def test_an_option_of_another_customer_is_refused(dispatcher, ticket):
    foreign = NotificationFactory.create().options.get(digit=2)
    response = act(dispatcher, ticket, "apply", option=foreign.pk)
    assert "phone number of this booking has changed" in said(response)
    assert not StaffAct.objects.exists()


def test_an_answer_is_sent_once_however_often_it_is_clicked(dispatcher, ticket, settings):
    for _ in range(2):
        response = act(dispatcher, ticket, "answer", words=" Sat  is\nfine ", nonce=NONCE)
    assert "was already sent" in said(response)
    message = OutboundMessage.objects.get()
    assert message.text == f"{settings.COMPANY_NAME}: Sat is fine"
    assert (message.kind, message.msisdn) == (Kind.STAFF, ticket.msisdn)
    assert message.user_id == int(me(dispatcher))
    assert Ticket.objects.get().settlement == Settlement.ANSWERED
    assert StaffAct.objects.get().kind == ActKind.ANSWERED


@pytest.mark.parametrize("words", ["", "   ", "x" * 1000])
def test_a_bad_answer_is_refused_and_not_lost(words, dispatcher, ticket):
    response = act(dispatcher, ticket, "answer", words=words, nonce=NONCE)
    assert "Write a message" in said(response) or "Too long" in said(response)
    assert words.strip() in response.content.decode()
    assert not OutboundMessage.objects.exists()
    assert Ticket.objects.waiting().exists()


@pytest.mark.parametrize(
    ("msisdn", "why"), [("442079460000", "cannot receive SMS"), ("MTN", "not a phone number")]
)
def test_answer_to_a_customer_who_cannot_be_texted_is_refused(msisdn, why, dispatcher):
    ticket = TicketFactory.create(inbound__msisdn=msisdn)
    page = dispatcher.get(url(Ticket, "change", ticket.pk)).content.decode()
    assert why in page
    assert 'value="answer"' not in page
    assert why in said(act(dispatcher, ticket, "answer", words="Hello", nonce=NONCE))
    assert not OutboundMessage.objects.exists()


def test_price_of_an_answer_is_shown_with_and_without_a_script(dispatcher, ticket):
    address = url(Ticket, "parts", ticket.pk)
    words = "We\u2019ll come" + " soon" * 20
    piece = dispatcher.post(address, {"words": words}, headers={"X-Requested-With": "fetch"})
    assert "2 SMS parts, about 0.10" in piece.content.decode()
    assert "<html" not in piece.content.decode()
    page = dispatcher.post(address, {"words": words}).content.decode()
    assert "2 SMS parts, about 0.10" in page
    assert words in page
    assert not OutboundMessage.objects.exists()


def test_ticket_opened_after_the_page_was_shown_stays_open(dispatcher, ticket, asked):
    seen = TicketFactory.create(inbound__notification=asked)
    unseen = TicketFactory.create(inbound__notification=asked)
    fields = {"act": "answer", "words": "Sat is fine", "nonce": NONCE, "seen": seen.pk}
    dispatcher.post(url(Ticket, "act", ticket.pk), fields)
    assert Ticket.objects.waiting().get() == unseen
    assert unseen.owner_id is None


def test_a_wish_for_no_more_texts_is_recorded_by_name(dispatcher, asked):
    ticket = TicketFactory.create(
        kind=TicketKind.WANTS_OUT, inbound__notification=asked, inbound__text="please stop"
    )
    act(dispatcher, ticket, "opt_out")
    assert Consent.objects.is_opted_out(asked.msisdn)
    change = ConsentChange.objects.get()
    assert (change.words, change.user_id) == ("please stop", int(me(dispatcher)))
    assert not Ticket.objects.waiting().exists()
    assert list(find_contradictions()) == []


@pytest.mark.parametrize("group", ["Ops", "Auditor"])
def test_read_only_user_changes_nothing(group, ticket, asked):
    client = login(group)
    page = client.get(url(Ticket, "change", ticket.pk))
    assert page.status_code == 200
    assert "Assign to me" not in page.content.decode()
    for name in ("take", "apply", "answer", "opt_out", "set_aside"):
        assert act(client, ticket, name).status_code == 403
    assert not StaffAct.objects.exists()


def test_stale_page_records_no_phone_call_and_undoes_nothing(asked, ticket, dispatcher, colleague):
    html = dispatcher.get(url(Ticket, "change", ticket.pk)).text
    shown = re.findall(r'name="shown" value="(\w+)"', html)
    later = SlotFactory.create(date=in_days(5))
    dispatch.move(asked.booking, later, user=colleague)
    option = asked.options.get(digit=2)
    for name, word in zip(("told_by_phone", "apply"), shown, strict=True):
        refused = act(dispatcher, ticket, name, shown=word, option=option.pk)
        assert f"it is now on {later}. Nothing was changed." in said(refused)
    refused = act(dispatcher, ticket, "told_by_phone", shown="")
    assert "Nothing was changed." in said(refused)
    assert Booking.objects.get().slot == later
    assert not StaffAct.objects.exists()
    (word, _) = re.findall(r'name="shown" value="(\w+)"', refused.text)
    assert "told by phone" in said(act(dispatcher, ticket, "told_by_phone", shown=word))

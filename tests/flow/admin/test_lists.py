"""The admin's lists: what is found, filtered and shown."""

import datetime as dt
import re
from html import unescape

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.admin.shared import searching
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import ticket_actions
from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    Booking,
    BookingState,
    Circuit,
    DeliveryReceipt,
    InboundMessage,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
    Slot,
    SlotChange,
    StaffAct,
    Ticket,
)
from tests.factories import (
    BookingFactory,
    ConsentChangeFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SentPartFactory,
    SlotChangeFactory,
    SlotFactory,
    TicketFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import HISTORY, login, make_story, may_view, url
from tests.flow.clock import wall

pytestmark = [pytest.mark.django_db, pytest.mark.database]


# Search


@pytest.fixture
def wanted() -> Booking:
    for number in range(2, 5):
        InboundMessageFactory.create(
            booking=BookingFactory.create(msisdn=f"44770090000{number}"),
            text="something else",
            gateway_message_id=f"0C7{number}",
        )
    booking = BookingFactory.create(
        reference="PARCEL-812", customer_name="Mary Lamb", msisdn="447700900001"
    )
    notification = NotificationFactory.create(booking=booking)
    message = OutboundMessageFactory.create(notification=notification, text="Fancy words")
    attempt = SendAttemptFactory.create(message=message, client_ref="client-ref-77-1")
    SentPartFactory.create(attempt=attempt, gateway_message_id="0A77")
    DeliveryReceiptFactory.create(attempt=attempt, gateway_message_id="0A77")
    inbound = InboundMessageFactory.create(
        notification=notification, text="leave it with Bob", gateway_message_id="0B77"
    )
    TicketFactory.create(inbound=inbound)
    SlotChangeFactory.create(booking=booking, inbound=inbound)
    ConsentChangeFactory.create(msisdn=booking.msisdn, words="STOP it")
    user = UserFactory.create()
    act = {"kind": ActKind.REVEALED, "user": user, "booking": booking}
    StaffAct.objects.create(msisdn=booking.msisdn, **act)
    batch = Batch.objects.create(nonce="nonce", sender=notification.virtual_number, user=user)
    settled = {"notification": notification, "settled_at": notification.created_at}
    BatchEntry.objects.create(batch=batch, booking=booking, **settled)
    return booking


def found(client: Client, model, term: str) -> list:
    response = client.get(url(model, "changelist"), {"q": term})
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


WHOLE = [
    "07700 900 001",
    "+44 7700 900001",
    "0044 7700 900001",
    "(07700) 900-001",
    "447700900001",
]
LAST_FOUR = "0001"
PIECES = ["900 001", "44770090000", "7700 9000", "00001"]
BY_PHONE = [name for name in HISTORY if name is not Circuit]


def found_by_phone(client: Client, term: str, models) -> list[list]:
    return [found(client, model, term) for model in models]


@pytest.mark.parametrize(
    ("group", "term"),
    [
        *(("superuser", term) for term in [*WHOLE, LAST_FOUR]),
        *(
            (group, term)
            for group in ["Dispatch", "Ops", "Auditor"]
            for term in [WHOLE[0], LAST_FOUR]
        ),
    ],
)
def test_search_by_whole_number_or_last_four_digits_needs_no_permission(term, group, wanted):
    models = [model for model in [Booking, *BY_PHONE] if may_view(group, model)]
    for rows in found_by_phone(login(group), term, models):
        assert [getattr(row, "booking", wanted) for row in rows] in ([wanted], [None])


@pytest.mark.parametrize("term", PIECES)
@pytest.mark.parametrize(
    ("group", "is_found"), [("superuser", True), ("Dispatch", True), ("Ops", False)]
)
def test_search_by_part_of_a_number_needs_the_reveal_permission(term, group, is_found, wanted):
    models = [model for model in [Booking, *BY_PHONE] if may_view(group, model)]
    for rows in found_by_phone(login(group), term, models):
        assert (len(rows) > 0) is is_found


@pytest.mark.parametrize("model", [Booking, *BY_PHONE], ids=lambda model: model.__name__)
def test_a_number_is_not_guessed_by_hand_made_addresses(model, wanted, superuser):
    asked = ["msisdn__startswith", "msisdn", "booking__msisdn__startswith", "raw__msisdn"]
    asked += ["raw__icontains", "imported__icontains", "booking__imported__icontains"]
    for lookup in asked:
        page = superuser.get(url(model, "changelist"), {lookup: "4477009"})
        assert page.status_code in {302, 400}


@pytest.mark.parametrize(
    ("model", "term"),
    [
        (Booking, "parcel-812"),
        (Booking, "lamb"),
        (Notification, "PARCEL-812"),
        (Notification, "fancy"),
        (OutboundMessage, "words fancy"),
        (OutboundMessage, "client-ref-77-1"),
        (OutboundMessage, "0A77"),
        (apps.get_model("bookings.InboundMessage"), "with bob"),
        (apps.get_model("bookings.InboundMessage"), "0B77"),
        (apps.get_model("bookings.DeliveryReceipt"), "0A77"),
        (apps.get_model("bookings.DeliveryReceipt"), "client-ref-77"),
        (SlotChange, "PARCEL-812"),
        (apps.get_model("bookings.ConsentChange"), "stop"),
        (Slot, "PARCEL-812"),
    ],
)
def test_a_row_is_found_by_its_words(model, term, wanted, superuser):
    assert len(found(superuser, model, term)) == 1


@pytest.mark.parametrize("term", ["parcel-812 lamb", "fancy words", '"Fancy words"', "mary"])
def test_each_word_of_a_search_must_be_there(term, wanted, superuser):
    assert len(found(superuser, OutboundMessage, term)) == 1
    assert found(superuser, OutboundMessage, f"{term} nobody") == []


@pytest.mark.parametrize("term", ["PARCEL-812", "client-ref-77-1", "client-ref-77", "0A77"])
def test_a_whole_reference_or_an_id_is_no_word_as_well(term, wanted, superuser):
    OutboundMessageFactory.create(text=f"About {term} and its like")
    assert [text.booking for text in found(superuser, OutboundMessage, term)] == [wanted]


def test_words_are_looked_for_in_the_newest_texts_of_the_days_that_are_chosen(
    wanted, superuser, monkeypatch
):
    monkeypatch.setattr(searching, "NEWEST", 3)
    OutboundMessage.objects.filter(booking=wanted).update(queued_at=in_october())
    OutboundMessageFactory.create_batch(3, text="newer")
    assert found(superuser, OutboundMessage, "fancy") == []
    assert len(found(superuser, OutboundMessage, "newer")) == 3
    told = superuser.get(url(OutboundMessage, "changelist"), {"q": "fancy"}).content.decode()
    assert (
        "Only the newest 3 messages were searched for words. Choose dates to look further back."
        in told
    )
    days = {"q": "fancy", "queued_from": "2025-10-01", "queued_to": "2025-10-31"}
    listed = superuser.get(url(OutboundMessage, "changelist"), days)
    assert [text.booking for text in listed.context["cl"].result_list] == [wanted]
    assert "newest" not in listed.content.decode().replace("words of the newest", "")
    assert len(found(superuser, OutboundMessage, "lamb")) == 1  # its name leads to all of them


def in_october() -> dt.datetime:
    return dt.datetime(2025, 10, 12, 12, tzinfo=dt.UTC)


def test_search_for_an_unknown_name_finds_nothing(wanted, superuser):
    assert found(superuser, Booking, "07700 900 009") == []


# Filters


@pytest.mark.parametrize(
    ("asked", "reference"),
    [
        ("not_asked", "NEW"),
        ("waiting", "WAITS"),
        ("answered", "ANSWERED"),
        ("not_reached", "LOST"),
        ("attention", "ANSWERED"),
    ],
)
def test_bookings_are_filtered_by_notification_state(asked, reference, superuser):
    BookingFactory.create(reference="NEW")
    NotificationFactory.create(booking__reference="WAITS")
    answered = NotificationFactory.create(booking__reference="ANSWERED")
    TicketFactory.create(inbound__notification=answered)
    lost = NotificationFactory.create(booking__reference="LOST")
    OutboundMessageFactory.create(notification=lost, state=MessageState.FAILED)

    page = superuser.get(url(Booking, "changelist"), {"asked": asked})

    references = {row.reference for row in page.context["cl"].result_list}
    assert reference in references
    assert references <= {reference, "LOST"} if asked == "waiting" else references == {reference}


@pytest.mark.parametrize(("asked", "reference"), [("not_reached", "LINE"), ("attention", "NOTICE")])
def test_filter_finds_customers_who_cannot_be_texted_or_cannot_answer(asked, reference, superuser):
    BookingFactory.create(reference="LINE", msisdn="442079460000")  # a fixed line
    NotificationFactory.create(booking__reference="NOTICE", options=0)

    page = superuser.get(url(Booking, "changelist"), {"asked": asked})

    assert [row.reference for row in page.context["cl"].result_list] == [reference]


@pytest.mark.parametrize(
    ("day", "references"),
    [
        ("today", {"TODAY"}),
        ("tomorrow", {"TOMORROW"}),
        ("coming", {"TODAY", "TOMORROW"}),
        ("past", {"PAST"}),
    ],
)
def test_bookings_are_filtered_by_day(day, references, superuser):
    for reference, days in (("PAST", -2), ("TODAY", 0), ("TOMORROW", 1)):
        BookingFactory.create(reference=reference, slot__date=in_days(days))
    page = superuser.get(url(Booking, "changelist"), {"day": day})
    assert {row.reference for row in page.context["cl"].result_list} == references


def test_coming_deliveries_are_listed_before_past_ones(superuser):
    for reference, days in (("PAST", -2), ("LATER", 5), ("TOMORROW", 1)):
        BookingFactory.create(reference=reference, slot__date=in_days(days))
    page = superuser.get(url(Booking, "changelist"))
    listed = [row.reference for row in page.context["cl"].result_list]
    assert listed == ["TOMORROW", "LATER", "PAST"]


def test_needs_attention_filter_finds_open_tickets(superuser):
    model = apps.get_model("bookings.InboundMessage")
    InboundMessageFactory.create()
    wanted = TicketFactory.create().inbound
    settled = TicketFactory.create(
        settled_at=timezone.now(), settlement="overtaken", reason="Replied too late."
    ).inbound
    page = superuser.get(url(model, "changelist"), {"attention": "yes"})
    assert list(page.context["cl"].result_list) == [wanted]
    assert "Needs attention: <bdi" in page.content.decode()
    others = superuser.get(url(model, "changelist"), {"attention": "no"})
    assert settled in others.context["cl"].result_list
    assert wanted not in others.context["cl"].result_list
    html = others.content.decode()
    assert re.search(r"Handled: <bdi[^>]*>Replied too late", html)
    assert "Needs attention: <bdi" not in html


def test_handled_part_of_a_long_text_settles_all_parts(superuser):
    parts = [
        InboundMessageFactory.create(
            msisdn="447700900001",
            outcome=Outcome.PART,
            part_ref="7",
            part_total=3,
            part_number=number,
            is_incomplete=True,
        )
        for number in (1, 2)
    ]
    ticket = TicketFactory.create(inbound=parts[0])
    address = url(InboundMessage, "changelist")
    assert superuser.get(address).content.decode().count("Needs attention: <bdi") == 1
    ticket_actions.set_aside(ticket, UserFactory.create())
    html = superuser.get(address).content.decode()
    assert html.count("Handled: <bdi") == 1
    assert "Needs attention: <bdi" not in html


@pytest.mark.parametrize(("room", "place"), [("free", [5, None]), ("full", [1]), ("closed", [0])])
def test_slots_are_filtered_by_room(room, place, superuser):
    for number, capacity in enumerate([5, 1, 0, None]):
        slot = SlotFactory.create(date=in_days(number + 1), capacity=capacity)
        if capacity == 1:
            BookingFactory.create(slot=slot)
            BookingFactory.create(
                state=BookingState.CANCELLED, cancelled_at=timezone.now(), slot=slot
            )
    page = superuser.get(url(Slot, "changelist"), {"room": room})
    assert {slot.capacity for slot in page.context["cl"].result_list} == set(place)


# What customers write is shown, never obeyed


NASTY = '<script>alert(1)</script>\u202e\x07"><img src=x onerror=alert(2)>'


@pytest.mark.parametrize(
    "where",
    ["booking", "inbound", "list", "answer", "move", "consent", "acts", "ticket", "tickets"],
)
def test_a_customers_text_is_escaped_and_its_control_characters_are_visible(where, superuser):
    notification = NotificationFactory.create()
    inbound = InboundMessageFactory.create(
        notification=notification, text=NASTY, matched=NASTY, raw={"text": NASTY}
    )
    answer = OutboundMessageFactory.create(booking=notification.booking, in_reply_to=inbound)
    move = SlotChangeFactory.create(booking=notification.booking, inbound=inbound)
    consent = ConsentChangeFactory.create(words=NASTY, inbound=inbound)
    ticket = TicketFactory.create(inbound=inbound, reason=NASTY)
    pages = {
        "booking": url(Booking, "change", notification.booking.pk),
        "inbound": url(type(inbound), "change", inbound.pk),
        "list": url(type(inbound), "changelist"),
        "answer": url(OutboundMessage, "change", answer.pk),
        "move": url(SlotChange, "change", move.pk),
        "consent": url(type(consent), "change", consent.pk),
        "acts": url(type(inbound), "history", inbound.pk),
        "ticket": url(Ticket, "change", ticket.pk),
        "tickets": url(Ticket, "changelist"),
    }
    page = superuser.get(pages[where]).content.decode()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "\x07" not in page
    assert where == "acts" or "&lt;script&gt;alert(1)&lt;/script&gt;[U+202E][U+0007]" in page


def test_pages_have_no_inline_script(superuser):
    make_story()
    for page in ("changelist", "add"):
        html = superuser.get(url(Booking, page)).content.decode()
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", html)
        assert [tag for tag in scripts if "application/json" not in tag] == []


@pytest.mark.parametrize(
    ("model", "make", "moment", "name"),
    [
        (OutboundMessage, OutboundMessageFactory, "queued_at", "queued"),
        (DeliveryReceipt, DeliveryReceiptFactory, "received_at", "received"),
    ],
)
def test_long_lists_are_filtered_by_days_and_never_looked_through_for_those_they_have(
    superuser, model, make, moment, name
):
    rows = [make.create() for _ in range(3)]
    for ahead, row in enumerate(rows):
        model.objects.filter(pk=row.pk).update(**{moment: wall(f"2026-11-2{3 + ahead} 00:00")})
    address = f"{url(model, 'changelist')}?{name}_from=2026-11-24&{name}_to=2026-11-24"
    with CaptureQueriesContext(connection) as queries:
        page = superuser.get(address)
    assert list(page.context["cl"].result_list) == [rows[1]]
    said = [query["sql"] for query in queries]
    assert not [sql for sql in said if "MIN(" in sql or "DISTINCT" in sql]


def test_the_deliveries_of_a_slot_lead_to_a_list_of_as_many(dispatcher):
    booking = BookingFactory.create()
    dispatch.cancel(BookingFactory.create(slot=booking.slot))
    slots = dispatcher.get(url(Slot, "changelist")).text
    ((link, count),) = re.findall(r'href="([^"]*slot__id__exact[^"]*)">(\d+)<', slots)
    listed = dispatcher.get(unescape(link)).context["cl"].result_list
    assert (int(count), list(listed)) == (1, [booking])

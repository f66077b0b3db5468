"""The four notifications of ops, each from one page: why it moved, did it arrive, what it cost, what failed."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bookings.admin.shared import paging
from bookings.models import (
    Booking,
    ChangeCause,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    Ticket,
    TicketKind,
    move_booking,
)
from tests.factories import (
    BookingFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SentPartFactory,
    SlotChangeFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import login, make_story, url

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def answer(inbound, *, after: float | None = 2, **fields: Any) -> OutboundMessage:
    """The acknowledgement of a reply, handed over so many seconds later."""
    called = None if after is None else inbound.received_at + dt.timedelta(seconds=after)
    said = {"kind": Kind.ACKNOWLEDGEMENT, "in_reply_to": inbound, "call_started_at": called}
    return OutboundMessageFactory.create(booking=inbound.booking, **said | fields)


def found(client: Client, **asked: str) -> list[Any]:
    page = client.get(url(InboundMessage, "changelist"), asked)
    assert page.status_code == 200
    return list(page.context["cl"].result_list)


# Why did parcel 812 move to Thursday?


def test_f10_an_ops_person_answers_why_did_parcel_812_move_from_one_page(ops):
    notification = NotificationFactory.create(booking__reference="812")
    booking, option = notification.booking, notification.options.get(digit=2)
    asked = OutboundMessageFactory.create(notification=notification, state=MessageState.DELIVERED)
    DeliveryReceiptFactory.create(attempt=SendAttemptFactory.create(message=asked))
    inbound = InboundMessageFactory.create(
        notification=notification, option=option, text="2 pls, not in on weds", booking=booking
    )
    move_booking(booking, option.slot, ChangeCause.REPLY, inbound=inbound)
    answer(inbound, text="Acme: parcel 812 is moved.")

    page = ops.get(url(Booking, "change", booking.pk))

    lines = page.context["why"]
    assert [line.kind for line in lines] == ["moved", "told", "asked", "receipt", "reply"]
    assert lines[0].title == f"Moved to {option.slot}"
    assert lines[-1].text == "2 pls, not in on weds"
    shown = page.content.decode()
    why = shown[shown.index("why-heading") : shown.index("Timeline")]
    for words in (lines[0].title, "parcel 812 is moved.", "2 pls, not in on weds"):
        assert words in why


@pytest.mark.parametrize(("group", "has_button"), [("Dispatch", True), ("Ops", False)])
def test_number_in_the_timeline_is_revealed_with_the_permission(group, has_button):
    notification = NotificationFactory.create()
    inbound = InboundMessageFactory.create(notification=notification)
    message = OutboundMessageFactory.create(notification=notification)
    page = login(group).get(url(Booking, "change", notification.booking.pk)).content.decode()
    for address in (
        f"/numbers/inboundmessage/{inbound.pk}/",
        f"/numbers/outboundmessage/{message.pk}/",
    ):
        assert (f'formaction="{address}"' in page) is has_button
    assert inbound.msisdn not in page


# Did message Y arrive?


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (MessageState.DELIVERED, "Yes."),
        (MessageState.SUBMITTED, "Unknown: sent, no delivery receipt yet."),
        (MessageState.BUFFERED, "Not yet: the phone is unreachable"),
        (MessageState.FAILED, "No: failed. Reason: Number barred: call instead."),
    ],
)
@pytest.mark.parametrize("group", ["Dispatch", "Ops"])
def test_message_page_says_whether_it_arrived(group, state, sentence):
    reason = "Number barred: call instead." if state == MessageState.FAILED else ""
    message = OutboundMessageFactory.create(state=state, reason=reason)
    page = login(group).get(url(OutboundMessage, "change", message.pk)).content.decode()
    assert sentence in page


def test_the_last_receipt_of_a_message_stands_on_its_page(ops):
    attempt = SendAttemptFactory.create(message__state=MessageState.FAILED)
    at = dt.datetime(2026, 11, 24, 9, 5, tzinfo=dt.UTC)
    DeliveryReceiptFactory.create(attempt=attempt, status="failed", err_code="6", received_at=at)
    page = ops.get(url(OutboundMessage, "change", attempt.message.pk)).content.decode()
    assert "Last receipt: &quot;failed&quot;, error 6, Tue 24 Nov 2026 09:05." in page


def test_every_state_of_a_message_has_a_sentence(ops):
    for state in MessageState:
        lease = {"token": "t", "lease_until": timezone.now()} if state == "sending" else {}
        message = OutboundMessageFactory.create(state=state, **lease)
        assert ops.get(url(OutboundMessage, "change", message.pk)).status_code == 200


# What did October cost?


def spend(when: str, msisdn: str, *prices: str | None, cost: str) -> None:
    attempt = SendAttemptFactory.create(
        call_started_at=dt.datetime.fromisoformat(when).astimezone(dt.UTC),
        message__msisdn=msisdn,
        message__parts=max(len(prices), 1),
        cost=cost,
    )
    for price in prices:
        SentPartFactory.create(attempt=attempt, price=price)


def test_costs_page_shows_a_month_by_country(ops):
    spend("2026-10-01T00:00:00+01:00", "447700900001", "0.03", "0.03", cost="0.06")
    spend("2026-10-31T23:59:59+00:00", "447700900002", None, cost="0.05")  # counted by our estimate
    spend("2026-10-12T12:00:00+01:00", "353871234567", "0.07", cost="0.07")
    spend("2026-10-12T12:00:00+01:00", "353871234568", cost="0.05")  # its answer was lost
    spend("2026-10-12T12:00:00+01:00", "353871234569", cost="0")  # not taken
    spend("2026-09-30T23:59:59+01:00", "447700900003", "9", cost="9")
    spend("2026-11-01T00:00:00+00:00", "447700900004", "9", cost="9")

    page = ops.get(url(OutboundMessage, "costs"), {"month": "2026-10"})

    rows = {row.country: row for row in page.context["rows"]}
    assert list(rows) == ["IE", "GB"]
    told = {
        name: (row.texts, row.parts, row.unpriced, f"{row.amount:.2f}")
        for name, row in rows.items()
    }
    assert told == {"GB": (2, 3, 1, "0.11"), "IE": (2, 2, 1, "0.12")}
    words = page.content.decode()
    assert "Cost, October 2026" in words
    assert "0.2300" in words
    assert "2 parts had no price from Vonage" in words


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_month_without_texts_says_so_and_nonsense_is_this_month(zone, ops, settings):
    settings.TIME_ZONE = zone
    assert "No messages were sent" in ops.get(url(OutboundMessage, "costs")).content.decode()
    for nonsense in ("2026-13", "oct", "9999-01", "0001-01"):
        page = ops.get(url(OutboundMessage, "costs"), {"month": nonsense})
        assert page.context["month"] == timezone.localdate().replace(day=1)


def test_countries_that_share_a_code_are_told_apart(ops):
    today = timezone.localdate().strftime("%Y-%m-01T12:00:00+00:00")
    for msisdn in ("447797712345", "447911123456", "12025550101", "14165550101"):
        spend(today, msisdn, "0.01", cost="0.01")
    rows = ops.get(url(OutboundMessage, "costs")).context["rows"]
    assert {row.country for row in rows} == {"JE", "GG", "US", "CA"}


# What failed, and why?


def test_filter_lists_failed_messages_with_reasons(ops):
    OutboundMessageFactory.create(state=MessageState.DELIVERED)
    lost = OutboundMessageFactory.create(state=MessageState.FAILED, reason="Number barred: call.")
    page = ops.get(url(OutboundMessage, "changelist"), {"trouble": "lost"})
    assert list(page.context["cl"].result_list) == [lost]
    assert "Number barred: call." in page.content.decode()


# The history of replies


def test_reply_row_shows_answer_state_and_response_time(ops):
    change = SlotChangeFactory.create(inbound=InboundMessageFactory.create(), cause="reply")
    answer(change.inbound, after=65, text="Acme: moved.", state=MessageState.DELIVERED)
    page = ops.get(url(InboundMessage, "changelist")).content.decode()
    assert "Acme: moved." in page
    assert "delivered, sent after 1 min 5 s" in page


@pytest.fixture
def moved() -> InboundMessage:
    """A reply of a Saturday evening that moved parcel 812, and was answered late and in vain. A person looks at it."""
    notification = NotificationFactory.create(
        booking__reference="812",
        booking__customer_name="Ana Torres",
        booking__language="en",
        booking__msisdn="447700909876",
    )
    reply = InboundMessageFactory.create(
        notification=notification,
        option=notification.options.get(digit=3),
        received_at=dt.datetime(2026, 3, 14, 23, 30, tzinfo=dt.UTC),
        text="post office",
        reading="words",
        rule="printed words",
    )
    SlotChangeFactory.create(booking=reply.booking, inbound=reply, cause="reply", user=None)
    answer(reply, after=61, state=MessageState.FAILED)
    Ticket.objects.create(
        kind=TicketKind.LATE,
        reason="Late",
        msisdn=reply.msisdn,
        inbound=reply,
        owner=UserFactory.create(),
    )
    return reply


@pytest.fixture
def kept() -> InboundMessage:
    """One of today about a delivery in a month, in another language, which it kept. It was answered at once."""
    booking = BookingFactory.create(slot__date=in_days(30), language="xx")
    reply = InboundMessageFactory.create(booking=booking, outcome="kept", reading="choice")
    answer(reply, after=2, state=MessageState.DELIVERED)
    return reply


@pytest.mark.parametrize(
    "asked",
    [
        {"outcome__exact": "moved"},
        {"reading": "words"},
        {"rule": "printed words"},
        {"digit": "3"},
        {"moved": "yes"},
        {"answer": "failed"},
        {"seconds": "5"},
        {"seconds": "60"},
        {"attention": "yes"},
        {"language": "en"},
        {"received_from": "2026-03-14", "received_to": "2026-03-14"},
        {"q": "post office"},
        {"q": "812"},
        {"q": "Ana Torres"},
        {"q": "9876"},
    ],
    ids=str,
)
def test_a_reply_is_found_by_everything_that_ops_ask(ops, moved, kept, asked):
    assert found(ops, **asked) == [moved]


def test_reply_filters_find_delivery_day_and_assignee(ops, moved, kept):
    day = moved.booking.slot.date.isoformat()
    assert found(ops, delivery_from=day, delivery_to=day) == [moved]
    assert found(ops, person=str(moved.ticket.owner_id)) == [moved]


@pytest.mark.parametrize(
    "asked",
    [
        {"moved": "no"},
        {"answer": "delivered"},
        {"attention": "no"},
        {"digit": "none"},
        {"received_from": "2026-03-15"},
    ],
    ids=str,
)
def test_the_other_reply_is_found_by_the_opposite(ops, moved, kept, asked):
    assert found(ops, **asked) == [kept]


def test_nothing_is_found_in_days_without_replies(ops, moved, kept):
    assert found(ops, received_to="2026-03-13") == []


def test_replies_that_nothing_was_said_to_or_handed_over_are_found(ops):
    waits, silent = InboundMessageFactory.create(), InboundMessageFactory.create()
    answer(waits, after=None)
    assert found(ops, seconds="none") == [waits]
    assert found(ops, answer="none") == [silent]


def test_text_by_staff_does_not_count_as_acknowledgement(ops):
    inbound = InboundMessageFactory.create()
    answer(inbound, kind=Kind.STAFF)
    assert found(ops, answer="none") == [inbound]


@pytest.mark.parametrize(
    "asked",
    [
        *({"received_from": "yesterday"}, {"delivery_to": "99"}, {"digit": "x"}, {"person": "me"}),
        {"person": "9" * 30},
    ],
)
def test_invalid_address_shows_the_whole_list(asked, ops):
    assert ops.get(url(InboundMessage, "changelist"), asked).url.endswith("?e=1")


def test_every_named_list_can_be_opened(ops):
    page = ops.get(url(InboundMessage, "changelist"))
    presets = page.context["cl"].model_admin.presets()
    assert len(presets) > 4
    for _, query in presets:
        assert f'href="?{query.replace("&", "&amp;")}"' in page.content.decode()
        assert ops.get(f"{url(InboundMessage, 'changelist')}?{query}").status_code == 200


def test_a_long_list_is_counted_so_far_and_no_further(ops, monkeypatch):
    monkeypatch.setattr(paging, "MOST_COUNTED", 3)
    for _ in range(5):
        InboundMessageFactory.create()
    page = ops.get(url(InboundMessage, "changelist")).content.decode()
    assert "3 or more" in page
    assert (
        "3 or more"
        not in ops.get(url(InboundMessage, "changelist"), {"moved": "yes"}).content.decode()
    )


def test_the_queries_of_the_list_do_not_grow_with_its_rows(ops, django_assert_max_num_queries):
    make_story()
    with django_assert_max_num_queries(30) as few:
        ops.get(url(InboundMessage, "changelist"))
    make_story(10)
    with django_assert_max_num_queries(len(few)):
        ops.get(url(InboundMessage, "changelist"))

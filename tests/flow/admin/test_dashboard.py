"""The first page of the admin: every number leads to a list of exactly that many rows."""

import datetime as dt
import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bookings.models import (
    Circuit,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    Outcome,
    Place,
    Sender,
    Spending,
    Ticket,
    TicketKind,
)
from bookings.reporting import dashboard
from tests.factories import (
    BookingFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SlotChangeFactory,
    SlotFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import login, make_story
from tests.flow.clock import clock_at

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _no_day_is_counted_yet():
    dashboard._sent.cache_clear()


PAGE = "/admin/"
_NUMBER = re.compile(r'<a class="link" href="([^"]*)">(\d+)</a>')
_ROW = re.compile(
    r'<th scope="row">(?:<bdi>)?([^<]*).*?</th>\s*<td[^>]*>\s*<(?:a[^>]*|span)>([^<]*)<', re.DOTALL
)


def page(client: Client, **asked: str) -> str:
    response = client.get(PAGE, asked)
    assert response.status_code == 200
    return response.content.decode()


def part(html: str, name: str) -> str:
    """What a script would replace."""
    return html.split(f'data-part="{name}"')[1].split("data-part=", maxsplit=1)[0]


def rows(html: str, name: str) -> dict[str, str]:
    return {label.strip(): value for label, value in _ROW.findall(part(html, name))}


def fill(days: int) -> None:
    """Deliveries of one day at every stage: thirteen, one of them cancelled.

    Four are not asked. Of the nine that are, the first does not hear of it, and the last five answer: keep it,
    the next day, the post office, and two that nobody can read.
    """
    slot = SlotFactory.create(date=in_days(days), window_start=dt.time(18), window_end=dt.time(20))
    BookingFactory.create_batch(2, slot=slot)
    BookingFactory.create(slot=slot, state="cancelled", cancelled_at=timezone.now())
    BookingFactory.create(slot=slot, msisdn=f"4420794600{days:02}")  # a fixed line
    asked = NotificationFactory.create_batch(9, booking__slot=slot)
    for number, notification in enumerate(asked):
        text_of(notification, is_lost=number == 0)
    digits = {4: 1, 5: 2, 6: 3, 7: None, 8: None}
    replies = [
        answered(asked[number], digit, hours_ago=number + 20 * days, seconds=number)
        for number, digit in digits.items()
    ]
    Ticket.objects.create(
        kind=TicketKind.UNCLEAR,
        reason="Unclear.",
        msisdn=replies[-1].msisdn,
        booking=replies[-1].booking,
        inbound=replies[-1],
        raised_at=timezone.now() - dt.timedelta(minutes=20 + days),
    )


def text_of(notification: Notification, *, is_lost: bool) -> None:
    """Two parts, handed over, with a receipt."""
    text = OutboundMessageFactory.create(
        notification=notification,
        state=MessageState.FAILED if is_lost else MessageState.DELIVERED,
        reason="The number is not in use." if is_lost else "",
        parts=2,
        call_started_at=timezone.now(),
    )
    attempt = SendAttemptFactory.create(message=text, state=text.state)
    DeliveryReceiptFactory.create(attempt=attempt)


def answered(
    notification: Notification, digit: int | None, *, hours_ago: int, seconds: int
) -> InboundMessage:
    """A reply and what came of it, with an answer that left after so many seconds."""
    booking = notification.booking
    reply = InboundMessageFactory.create(
        notification=notification,
        option=notification.options.get(digit=digit) if digit else None,
        outcome=Outcome.MOVED if digit else Outcome.NOT_UNDERSTOOD,
        received_at=timezone.now() - dt.timedelta(hours=hours_ago),
    )
    OutboundMessageFactory.create(
        booking=booking,
        in_reply_to=reply,
        kind=Kind.ACKNOWLEDGEMENT,
        state=MessageState.DELIVERED,
        queued_at=reply.received_at,
        call_started_at=reply.received_at + dt.timedelta(seconds=seconds),
    )
    if digit in {2, 3}:
        SlotChangeFactory.create(booking=booking, inbound=reply, cause="reply", user=None)
    return reply


@pytest.fixture
def _filled(time_machine):
    clock_at(time_machine, "2026-11-24 12:30")
    fill(0)
    fill(1)
    soon = timezone.now() + dt.timedelta(hours=1)
    OutboundMessageFactory.create(due_at=soon)
    OutboundMessageFactory.create_batch(2, is_held=True)
    OutboundMessageFactory.create(
        msisdn="12025550123", state=MessageState.REJECTED, reason="", booking=None
    )
    Spending.objects.create(day=timezone.localdate(), amount="1.75")
    Sender.objects.create(name="machine 7")
    Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")


@pytest.mark.usefixtures("_filled")
def test_dashboard_counts_today_and_tomorrow():
    html = page(login("Ops"))
    for name in ("today", "tomorrow"):
        assert rows(html, name) == {
            "Deliveries": "12",
            "Notified": "9",
            "Message delivered": "8",
            "Replied": "5",
            "Moved by the customer": "2",
            "Customers to call": "4",
            "Needs attention": "1",
        }
    assert "oldest 20\xa0minutes" in part(html, "today")
    assert "oldest 21\xa0minutes" in part(html, "tomorrow")


@pytest.mark.usefixtures("_filled")
def test_dashboard_shows_the_charts():
    html = page(login("Ops"))
    day, week = page(login("Ops")), page(login("Ops"), since="7d")
    # Those of the second day were written from 24 to 28 hours ago.
    assert rows(day, "choices") == {
        "keep": "1",
        "another day": "1",
        "post office": "1",
        "unclear": "2",
    }
    assert list(rows(week, "choices").values()) == ["2", "2", "2", "4"]
    hours = rows(day, "hours")
    assert next(iter(hours)) == "13:00"
    assert len(hours) == 24
    assert {hour: n for hour, n in hours.items() if n != "0"} == dict.fromkeys(
        ("04:00", "05:00", "06:00", "07:00", "08:00"), "1"
    )
    assert "6.0 s" in part(html, "speed")
    assert "8.0 s" in part(html, "speed")
    assert rows(html, "failures") == {
        "The number is not in use.": "2",
        "no reason given": "1",
        "+44 GB": "2",
        "+1 US": "1",
    }
    costs = part(html, "costs")
    assert re.search(r"Tue 24 Nov 2026.*?>26</a>.*?>36<.*?>1.75<", costs, re.DOTALL) or costs


@pytest.mark.usefixtures("_filled")
def test_dashboard_shows_the_queue_the_circuit_and_the_senders():
    told = rows(page(login("Ops")), "machine")
    assert told["Needs attention"] == "2"
    assert told["Due now"] == "2"
    assert told["Queued (including scheduled)"] == "3"
    assert told["On hold"] == "2"
    assert told["Sending"] == "paused"
    assert told["Sender processes"] == "1"
    assert "No balance" in page(login("Ops"))
    assert "machine 7" in page(login("Ops"))


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(
    ("group", "period"),
    [
        ("superuser", "7d"),
        ("superuser", "24h"),
        ("Dispatch", "24h"),
        ("Ops", "7d"),
        ("Auditor", "24h"),
    ],
)
def test_every_number_leads_to_a_list_of_exactly_that_many_rows(group, period):
    client = login(group)
    found = [
        (unescape(link), int(number))
        for link, number in _NUMBER.findall(page(client, since=period))
    ]
    assert len(found) > 40
    counted = {}
    for link, _ in found:
        listed = client.get(link)
        assert listed.status_code == 200, link
        if "unaware" in link:
            counted[link] = len(listed.context["unreached"])
            continue
        assert listed.context["cl"].params or "?" not in link or "=" in link
        counted[link] = listed.context["cl"].result_count
    assert counted == dict(found)


@pytest.mark.usefixtures("_filled")
def test_every_number_that_counts_rows_has_its_list():
    """Senders have none: they stand there by name."""
    html = page(login("superuser"))
    has_page = admin.site.is_registered(Ticket)
    without = re.findall(r"<(?:span|td class=\"number\")>\s*(\d+)\s*</", html.split("costs")[0])
    assert len(without) == (1 if has_page else 2)


# Who sees what


def test_dispatch_sees_neither_circuit_nor_cost_nor_receipts():
    make_story()
    ops, dispatch = page(login("Ops")), page(login("Dispatch"))
    for told in ("Sending<", "Sender processes", "Last delivery receipt", "Parts and cost"):
        assert f">{told}" in ops
        assert f">{told}" not in dispatch
    assert 'data-part="today"' in dispatch
    assert "No balance" not in dispatch
    assert "Sending is paused" in dispatch


def test_an_auditor_sees_all_that_ops_see():
    def headings(group):
        return re.findall(r"<h2 id=\"([\w-]+)", page(login(group)))

    assert headings("Auditor") == headings("Ops") != headings("Dispatch")


def test_staff_without_a_role_are_referred_to_an_administrator():
    client = Client()
    client.force_login(UserFactory.create())
    html = page(client)
    assert "You have no role yet" in html
    assert "data-part" not in html


def test_staff_who_may_only_view_bookings_see_only_the_days():
    user = UserFactory.create()
    view = Group.objects.get(name="Dispatch").permissions.get(codename="view_booking")
    user.user_permissions.add(view)
    client = Client()
    client.force_login(user)
    assert re.findall(r'data-part="([\w-]+)"', page(client)) == [
        *("alarms", "today", "tomorrow", "as-of")
    ]


@pytest.mark.parametrize("group", ["Dispatch", "Ops", "Auditor", None])
def test_login_leads_to_the_dashboard(group):
    user = UserFactory.create(username="somebody")
    user.set_password("long-enough-word")
    user.save()
    user.groups.set(Group.objects.filter(name=group))
    answer = Client().post(
        reverse("admin:login"), {"username": "somebody", "password": "long-enough-word"}
    )
    assert (answer.status_code, answer["Location"]) == (302, PAGE)


# How it is served


def test_days_that_are_over_are_counted_too():
    at = timezone.now() - dt.timedelta(days=20)
    OutboundMessageFactory.create_batch(3, parts=2, call_started_at=at, state="delivered")
    day = timezone.localdate(at).strftime("%a %-d %b %Y")
    assert re.search(rf"{day}.*?>3</a>.*?>6<", part(page(login("Ops")), "costs"), re.DOTALL)


def test_an_empty_database_has_a_dashboard():
    html = page(login("superuser"))
    assert "<p>None.</p>" in html
    assert "none yet" in html
    assert 'class="alarm"' not in html


def test_senders_that_are_gone_are_named_and_not_counted():
    Sender.objects.create(name="machine 7")
    Sender.objects.create(name="machine 8")
    Sender.objects.filter(name="machine 8").update(seen_at=Now() - dt.timedelta(minutes=3))
    html = page(login("Ops"))
    assert rows(html, "machine")["Sender processes"] == "1"
    assert "machine 8" in part(html, "machine")


def test_dashboard_shows_alarms_first_with_instructions():
    Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")
    alarms = part(page(login("Ops")), "alarms")
    assert "Sending is paused" in alarms
    assert "resume sending" in alarms


def test_script_gets_only_the_parts_of_the_dashboard():
    make_story()
    ops = login("Ops")
    whole = page(ops)
    fragment = ops.get(PAGE, headers={"X-Requested-With": "fetch"}).content.decode()
    assert "<html" not in fragment
    assert "data-every" not in fragment
    assert re.findall(r'data-part="([\w-]+)"', fragment) == re.findall(
        r'data-part="([\w-]+)"', whole
    )
    assert rows(fragment, "today") == rows(whole, "today")


def test_invalid_address_shows_the_default_period():
    assert "the last 24 hours" in page(login("Ops"), since="\0")


def test_a_reason_is_escaped():
    OutboundMessageFactory.create(state=MessageState.FAILED, reason="<b>'bad'\u202e")
    html = part(page(login("Ops")), "failures")
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "\u202e" not in html


def test_dashboard_takes_constant_queries(superuser):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page(superuser)
        return len(captured)

    make_story(2)
    fill(0)
    fill(1)
    page(superuser)
    few = queries()
    make_story(20)
    fill(0)
    fill(1)
    assert queries() == few


def test_the_post_office_slot_of_a_delivery_that_is_there_is_no_move():
    """Kept is what was booked, also at the post office."""
    slot = SlotFactory.create(place=Place.POST_OFFICE, capacity=None)
    notification = NotificationFactory.create(booking__slot=slot)
    InboundMessageFactory.create(
        notification=notification, option=notification.options.get(digit=1)
    )
    assert rows(page(login("Ops")), "choices")["keep"] == "1"

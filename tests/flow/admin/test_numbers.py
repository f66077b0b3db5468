"""A customer's number: masked for everybody, shown on a click that is written down."""

import html
import re

import pytest
from django.test import Client
from django.urls import reverse

from bookings.models import (
    ActKind,
    Booking,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Notification,
    OutboundMessage,
    StaffAct,
    Ticket,
)
from bookings.reporting.masking import without_numbers
from bookings.web.reveal_number import TABLES
from tests.factories import (
    BookingFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    SlotFactory,
)
from tests.flow.admin.pages import EVERYONE, OURS, choose, login, make_story, save, url

pytestmark = pytest.mark.django_db

MSISDN, NATIONAL = "447700912345", "7700912345"
FETCH = {"X-Requested-With": "fetch"}


def is_whole(page: str) -> bool:
    """Whether the number stands there, however it is written."""
    return NATIONAL in re.sub(r"[\s().\-]|&nbsp;", "", page)


@pytest.fixture
def story(settings) -> Booking:
    """One customer in every table; no simulator, whose addresses carry numbers."""
    settings.SMS_GATEWAY = "vonage"
    make_story()
    booking = Booking.objects.get()
    for model in (Booking, Notification, OutboundMessage, InboundMessage, DeliveryReceipt):
        model.objects.update(msisdn=MSISDN)
    ConsentChange.objects.update(msisdn=MSISDN)
    StaffAct.objects.update(msisdn=MSISDN)
    Ticket.objects.update(msisdn=MSISDN)
    InboundMessage.objects.update(raw={"msisdn": MSISDN, "to": "447700900000", "text": "2"})
    DeliveryReceipt.objects.update(raw={"msisdn": MSISDN, "to": "447700900000", "scts": "1"})
    booking.refresh_from_db()
    return booking


def pages_of(client: Client, booking: Booking):
    """Every page of ours in the admin, and the progress of a notification."""
    for model in OURS:
        yield url(model, "changelist")
        for row in model.objects.all():
            yield url(model, "change", row.pk)
            yield url(model, "history", row.pk)
    yield reverse("notification-progress", args=[booking.notifications.get().pk])


@pytest.mark.parametrize("group", ["superuser", "Ops", "Auditor"])
def test_no_page_shows_a_whole_number(group, story):
    client = login(group)
    opened = 0
    for address in pages_of(client, story):
        if address == url(Booking, "change", story.pk):
            continue  # its story is looked at below
        response = client.get(address)
        assert not is_whole(response.content.decode()), address
        opened += response.status_code == 200
    assert opened > 25


def test_the_story_of_a_booking_shows_no_whole_number(story, superuser):
    page = superuser.get(url(Booking, "change", story.pk)).content.decode()
    assert "Timeline" in page
    assert not is_whole(page)


def test_pages_show_the_masked_number(story, superuser):
    for model in TABLES.values():
        row = model.objects.first()
        for address in (url(model, "changelist"), url(model, "change", row.pk)):
            assert "+44 •••••• 2345" in superuser.get(address).content.decode(), address


def test_our_own_number_is_not_masked(story, superuser):
    message = OutboundMessage.objects.first()
    assert message is not None
    for model, row in ((OutboundMessage, message), (Notification, Notification.objects.get())):
        assert "+44 7700 900000" in superuser.get(url(model, "change", row.pk)).content.decode()


def test_before_a_text_is_sent_and_after_a_change_the_number_is_masked(dispatcher, settings):
    settings.SMS_GATEWAY = "vonage"
    booking = NotificationFactory.create(booking__msisdn=MSISDN).booking
    refused = choose(dispatcher, [booking])
    shown = choose(dispatcher, [BookingFactory.create(msisdn=MSISDN, reference="FINE")])
    save(dispatcher, booking, slot=SlotFactory.create().pk, msisdn=f"+44 {NATIONAL[:-1]}6")
    saved = dispatcher.get(url(Booking, "changelist"))
    fields = {"number": f"0{NATIONAL}", "slot": booking.slot_id, "nonce": "n" * 20}
    preview = dispatcher.post("/notify/preview", fields, headers=FETCH)
    for page in (refused, shown, preview):
        assert "+44 •••••• 2345" in page.content.decode()
        assert not is_whole(page.content.decode())
    assert "call +44 •••••• 2346" in saved.content.decode()


def test_the_page_of_a_booking_holds_no_word_that_tells_the_number(dispatcher, story):
    page = dispatcher.get(url(Booking, "change", story.pk)).content.decode()
    assert re.search(r'name="seen" value="[0-9a-f]{40}', page)


PAYLOADS = {
    "as digits": {"msisdn": MSISDN, "to": "447700900000"},
    "with a plus": {"msisdn": f"+{MSISDN}", "to": "447700900000"},
    "as a number": {"msisdn": int(MSISDN), "to": "447700900000"},
    "the wrong way round": {"msisdn": "447700900000", "to": MSISDN},
    "under another name": {"sender": MSISDN, "nested": {"list": [MSISDN]}},
}


@pytest.mark.parametrize("raw", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_is_shown_with_the_customers_number_masked(raw, superuser):
    inbound = InboundMessageFactory.create(msisdn=MSISDN, raw=raw | {"messageId": "0A12345678"})
    receipt = DeliveryReceiptFactory.create(attempt=None, msisdn=MSISDN, raw=raw)
    for row in (inbound, receipt):
        page = html.unescape(superuser.get(url(type(row), "change", row.pk)).content.decode())
        assert "+44 •••••• 2345" in page
        assert not is_whole(page)
        assert "to" not in raw or raw["to"] == MSISDN or '"447700900000"' in page


def test_dispatch_reads_no_raw_payload_and_ops_do(story):
    inbound = InboundMessage.objects.get()
    for group, is_shown in (("Dispatch", False), ("Ops", True)):
        page = login(group).get(url(InboundMessage, "change", inbound.pk)).content.decode()
        assert ("Raw payload" in page) is is_shown
        assert ("&quot;msisdn&quot;" in page) is is_shown


def test_text_without_a_number_is_shown_unchanged(superuser):
    InboundMessageFactory.create(msisdn="MTN\u202e")
    page = superuser.get(url(InboundMessage, "changelist")).content.decode()
    assert "MTN[U+202E]" in page
    assert 'class="reveal"' not in page


# Seeing the whole number


def reveal(client: Client, row, **more):
    table = type(row).__name__.lower()
    return client.post(reverse("reveal-number", args=[table, row.pk]), **more)


@pytest.mark.parametrize("model", TABLES.values(), ids=TABLES)
def test_a_click_shows_the_whole_number_and_is_written_down(model, story):
    row = model.objects.first()
    client = login("superuser")

    page = reveal(client, row)

    assert "+44 7700 912345" in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    act = StaffAct.objects.first()
    assert act is not None
    assert (act.kind, act.msisdn) == (ActKind.REVEALED, MSISDN)
    assert act.details == f"{model.__name__.lower()} {row.pk}"
    assert act.user.username == page.wsgi_request.user.username
    assert act.booking == (None if model is ConsentChange else story)


def test_a_script_gets_the_number_alone(story, dispatcher):
    answer = reveal(dispatcher, story, headers=FETCH)
    assert answer.content.decode() == "+44 7700 912345"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "no-store" in answer.headers["Cache-Control"]


def test_the_page_leads_back_to_where_the_number_stood(story, dispatcher):
    page = reveal(dispatcher, story).content.decode()
    assert f'href="{url(Booking, "change", story.pk)}"' in page


@pytest.mark.parametrize(("group", "status"), [("Dispatch", 200), ("Ops", 403), ("Auditor", 403)])
def test_reveal_button_and_answer_need_the_permission(group, status, story):
    StaffAct.objects.filter(kind=ActKind.REVEALED).update(kind=ActKind.EXPORTED)
    client = login(group)
    for address in (url(Booking, "changelist"), url(Booking, "change", story.pk)):
        page = client.get(address).content.decode()
        assert ('class="reveal"' in page) is (status == 200)
        assert ('<form id="reveal"' in page) is (status == 200)
    assert reveal(client, story).status_code == status
    assert StaffAct.objects.filter(kind=ActKind.REVEALED).count() == (status == 200)


@pytest.mark.parametrize("model", [DeliveryReceipt, StaffAct])
def test_number_is_refused_where_the_page_of_its_row_is_refused(model, story, dispatcher):
    before = StaffAct.objects.count()
    assert reveal(dispatcher, model.objects.first()).status_code == 403
    assert StaffAct.objects.count() == before


@pytest.mark.parametrize(
    "address",
    [
        *("/numbers/booking/999/", f"/numbers/booking/{'9' * 30}/", "/numbers/booking/x/"),
        *("/numbers/user/1/", "/numbers/consent/1/", "/numbers/slot/1/"),
    ],
)
def test_a_row_that_is_not_there_has_no_number(address, superuser):
    Consent.objects.create(msisdn=MSISDN)
    assert superuser.post(address).status_code == 404
    assert not StaffAct.objects.exists()


def test_a_row_without_a_number_has_none_to_show(superuser):
    assert reveal(superuser, InboundMessageFactory.create(msisdn="MTN")).status_code == 404
    assert not StaffAct.objects.exists()


def test_revealing_a_number_needs_a_post_with_csrf_token(story, dispatcher):
    address = reverse("reveal-number", args=["booking", story.pk])
    assert dispatcher.get(address).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = dispatcher.cookies
    before = StaffAct.objects.count()
    assert strict.post(address).status_code == 403
    assert StaffAct.objects.count() == before


def test_search_for_a_number_shows_who_revealed_it(story):
    looker = login("Dispatch")
    reveal(looker, BookingFactory.create(msisdn="447700900001"))
    name = reveal(looker, story).wsgi_request.user.username
    for group in ("Auditor", "superuser"):
        page = login(group).get(url(StaffAct, "changelist"), {"q": f"0{NATIONAL}"})
        found = list(page.context["cl"].result_list)
        assert {act.msisdn for act in found} == {MSISDN}
        assert name in {act.user.username for act in found}


def test_no_link_leads_to_a_page_that_is_closed(staff, story):
    """What a page offers can be opened, whoever reads it."""
    answers = [staff.get(page) for page in pages_of(staff, story)]
    pages = [answer.content.decode() for answer in answers if answer.status_code == 200]
    assert len(pages) > 20
    links = {link for page in pages for link in links_on(page)}
    assert len(links) > 20
    for link in links:
        assert staff.get(html.unescape(link), follow=True).status_code == 200, link


def links_on(page: str) -> list[str]:
    """The pages of the project that it links to. The log-out is a form, and files are files."""
    links = re.findall(r'<a\b[^>]*\bhref="(/[^"]*)"', page)
    return [link for link in links if not link.startswith("/static/")]


@pytest.mark.parametrize(
    "number",
    [
        *("07700900123", "+44 (0)20 7946-0123", "0712 3456", "1-800-2026", "2345-67-89"),
        *("020 11/12/2026", "11/12/2026 567", "2026-11-24 567", "24/11/20261", "12026-11-24"),
        *(
            "1\u2013212\u2013555\u20130100",
            "+44\u20117700\u2011900123",
            "07700_900123",
            "07700,900123",
        ),
    ],
)
def test_digits_that_can_be_a_number_are_masked_in_a_sentence(number):
    digits = re.sub(r"\D", "", number)
    assert without_numbers(f"{number!r} is no date.") == f"'••••{digits[-4:]}' is no date."


@pytest.mark.parametrize("date", ["2026-11-24", "24/11/2026", "4-1-2026", "24.11.2026", "24/11/26"])
def test_a_date_stays_in_a_sentence(date):
    sentence = (
        f"{date!r} is no date: write 2026-11-24. Thu 26 Nov 2026 09:00-12:00 is full: 12, 14, 16."
    )
    assert without_numbers(sentence) == sentence


@pytest.mark.parametrize("role", EVERYONE)
def test_no_list_is_sorted_by_masked_numbers(role):
    """Between two numbers that somebody knows, a masked one could be guessed."""
    client = login(role)
    for model in (Booking, Notification, OutboundMessage, InboundMessage, DeliveryReceipt):
        page = client.get(url(model, "changelist"))
        if page.status_code == 200:
            changelist = page.context["cl"]
            fields = map(changelist.get_ordering_field, changelist.list_display)
            assert not [field for field in fields if field and "msisdn" in str(field)]

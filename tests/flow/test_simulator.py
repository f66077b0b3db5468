"""The simulated network: its webhooks go over real HTTP to the real views, signed."""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.test import Client

from bookings.gateways import OutgoingSMS, Verdict
from bookings.gateways.signature import is_signed
from bookings.models import (
    Booking,
    DeliveryReceipt,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Outcome,
    SimulatedPhone,
)
from bookings.notifications.asking import notify
from bookings.web.simulator import gateway as network
from bookings.web.simulator.gateway import SimulatorGateway, deliver_reply
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    UserFactory,
)

PAYLOADS = Path(__file__).parent.parent / "payloads" / "vonage"
FETCH = {"X-Requested-With": "fetch"}
MSISDN = "447700900123"

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client):
    client.force_login(dispatcher())
    return client


@pytest.fixture
def booking():
    return BookingFactory.create(msisdn=MSISDN, customer_name="Ana Torres")


@pytest.fixture(autouse=True)
def receipts_come_quickly(monkeypatch):
    monkeypatch.setattr(network, "RECEIPT_AFTER", 0.05)
    monkeypatch.setattr(network, "_TRY_AGAIN_AFTER", 0.05)


def dispatcher():
    """Staff with the right to notify: playing a customer moves bookings too."""
    user = UserFactory.create()
    user.user_permissions.add(Permission.objects.get(codename="notify_booking"))
    return user


@pytest.fixture
def web(live_server, settings):
    """Open a staff browser at a web server that the simulated network can reach."""
    settings.SIMULATOR_BASE_URL = live_server.url
    host = live_server.url.removeprefix("http://")
    settings.ALLOWED_HOSTS = [host.partition(":")[0]]
    browser = Client(headers={"host": host})
    browser.force_login(dispatcher())
    return browser


@pytest.fixture
def listener():
    """Record POSTs in place of the product's webhooks."""
    posted = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", posted=posted)
        server.shutdown()
        thread.join()


@pytest.fixture
def asked(booking, web):
    """Notify a customer, so that the text is on the phone."""
    notification = notify(booking)
    call_command("run_outbox", drain=True)
    return notification


def until(happens, seconds=5):
    give_up = time.monotonic() + seconds
    while not (found := happens()) and time.monotonic() < give_up:
        time.sleep(0.02)
    return found


def sms(text="Hello", *, is_unicode=False):
    return OutgoingSMS(
        to=MSISDN,
        sender="447700900000",
        text=text,
        client_ref=f"{uuid.uuid4().hex[:20]}-1",
        is_unicode=is_unicode,
    )


PAGES = ["/simulator/", f"/simulator/{MSISDN}/"]
ACTIONS = [f"/simulator/{MSISDN}/reply", f"/simulator/{MSISDN}/switches"]


@pytest.mark.parametrize("path", PAGES)
def test_the_phones_are_for_staff(client, booking, path):
    assert client.get(path).url.startswith("/admin/login/")
    client.force_login(UserFactory.create(is_staff=False))
    assert client.get(path).status_code == 403
    client.force_login(UserFactory.create())
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ACTIONS)
def test_an_action_on_a_phone_is_for_dispatch_and_needs_a_csrf_token(booking, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(dispatcher())
    assert client.post(path, {"text": "2"}).status_code == 403
    for user in (UserFactory.create(is_staff=False), UserFactory.create()):
        client = Client()
        client.force_login(user)
        assert client.post(path, {"text": "2"}).status_code == 403
    assert not InboundMessage.objects.exists()
    assert not SimulatedPhone.objects.exists()


def test_there_are_no_phones_where_texts_are_real(staff, booking, settings):
    settings.SMS_GATEWAY = "vonage"
    assert {staff.get(path).status_code for path in PAGES} == {404}
    assert {staff.post(path, {"text": "2"}).status_code for path in ACTIONS} == {404}
    assert not InboundMessage.objects.exists()


def test_a_phone_is_there_for_customers_alone(staff):
    assert staff.get("/simulator/447700900999/").status_code == 404
    assert staff.get("/simulator/x/").status_code == 404


def test_the_list_shows_phones_with_texts_the_latest_first(staff, booking):
    InboundMessageFactory.create(msisdn="12025550101", text="older")
    message = OutboundMessageFactory.create(booking=booking, text="Acme: newer")
    assert "Ana Torres" not in staff.get("/simulator/").text
    attempt = SendAttemptFactory.create(message=message)
    OutboundMessage.objects.update(call_started_at=attempt.call_started_at)
    InboundMessageFactory.create(msisdn="MTN", text="no phone")
    page = staff.get("/simulator/").text
    assert page.index("Acme: newer") < page.index("older")
    assert "Ana Torres" in page
    assert "no phone" not in page


def test_a_number_typed_in_any_formatting_opens_its_phone(staff):
    response = staff.get("/simulator/", {"number": "07700 900123"})
    assert response.url == f"/simulator/{MSISDN}/"
    assert "too short" in staff.get("/simulator/", {"number": "12"}).text


def test_simulated_phone_shows_only_sent_texts(staff, booking):
    kinds = {
        "queued": None,
        "not sent": Verdict.NOT_SENT,
        "refused": Verdict.REFUSED,
        "taken": Verdict.ACCEPTED,
        "nobody knows": Verdict.UNKNOWN,
    }
    for text, verdict in kinds.items():
        message = OutboundMessageFactory.create(booking=booking, text=f"Acme: {text}.")
        if verdict:
            SendAttemptFactory.create(message=message, verdict=verdict.value)
    real = OutboundMessageFactory.create(booking=booking, text="Acme: real.", gateway="vonage")
    SendAttemptFactory.create(message=real)
    InboundMessageFactory.create(msisdn=MSISDN, text="<b>2</b>")
    page = staff.get(f"/simulator/{MSISDN}/")
    shown = [bubble.text for bubble in page.context["bubbles"]]
    assert shown == ["Acme: taken.", "Acme: nobody knows.", "<b>2</b>"]
    assert "&lt;b&gt;2&lt;/b&gt;" in page.text


def test_a_text_that_was_lost_on_the_way_is_not_on_the_phone(staff, booking):
    message = OutboundMessageFactory.create(booking=booking, text="Acme: lost.")
    SendAttemptFactory.create(message=message, state=MessageState.FAILED)
    page = staff.get(f"/simulator/{MSISDN}/").text
    assert "Acme: lost." not in page
    assert "did not reach this phone" in page


@pytest.mark.parametrize("key", ["secret", "token", "both"])
def test_a_reply_goes_through_the_real_webhook_and_moves_the_booking(asked, web, settings, key):
    settings.WEBHOOK_TOKEN = "" if key == "secret" else "a-long-random-word"
    if key == "token":
        settings.VONAGE_SIGNATURE_SECRETS = []
    assert web.post(f"/simulator/{MSISDN}/reply", {"text": "2"}).status_code == 302
    inbound = InboundMessage.objects.get()
    assert (inbound.msisdn, inbound.text, inbound.outcome) == (MSISDN, "2", Outcome.MOVED)
    assert inbound.virtual_number == asked.virtual_number
    assert Booking.objects.get().slot == asked.options.get(digit=2).slot
    page = web.get(f"/simulator/{MSISDN}/")
    assert "Outcome: <b>moved</b>" in page.text


@pytest.mark.parametrize("text", ["2", "Déjà vu & = 1", "\uff12", "ok \U0001f44d"])
def test_a_reply_arrives_as_it_was_typed(asked, web, text):
    web.post(f"/simulator/{MSISDN}/reply", {"text": text})
    assert InboundMessage.objects.get().text == text


def test_the_acknowledgement_appears_on_the_phone(asked, web):
    web.post(f"/simulator/{MSISDN}/reply", {"text": "2"})
    call_command("run_outbox", drain=True)
    page = web.get(f"/simulator/{MSISDN}/", headers=FETCH)
    assert "<html" not in page.text
    ours = [bubble.is_ours for bubble in page.context["bubbles"]]
    assert ours == [True, False, True]


@pytest.mark.parametrize("text", ["", "   ", "x" * 161, "a\0b"])
def test_a_reply_that_no_phone_would_send_is_not_sent(asked, web, text):
    response = web.post(f"/simulator/{MSISDN}/reply", {"text": text}, headers=FETCH)
    assert "1 to 160 characters" in response.text
    assert not InboundMessage.objects.exists()


def test_a_webhook_sent_twice_is_one_reply(asked, web):
    web.post(f"/simulator/{MSISDN}/switches", {"sends_twice": "on"})
    web.post(f"/simulator/{MSISDN}/reply", {"text": "2"})
    assert InboundMessage.objects.count() == 1
    assert OutboundMessage.objects.filter(kind="acknowledgement").count() == 1


def test_posted_reply_looks_like_vonages(listener, settings):
    settings.SIMULATOR_BASE_URL = listener.url
    SimulatedPhone.objects.create(msisdn=MSISDN, sends_twice=True)
    deliver_reply(MSISDN, "2 please", "447700900000")
    first, second = listener.posted
    assert first["messageId"] == second["messageId"]
    sample = PAYLOADS / "inbound_text.json"
    assert first.keys() == json.loads(sample.read_text()).keys() | {"sig"}
    assert (first["keyword"], first["text"], first["type"]) == ("2", "2 please", "text")
    assert is_signed(first, settings.VONAGE_SIGNATURE_SECRETS, settings.VONAGE_SIGNATURE_METHOD)


def test_a_posted_receipt_looks_like_vonages(listener, settings):
    settings.SIMULATOR_BASE_URL = listener.url
    carrier = SimulatorGateway()
    sent = sms()
    result = carrier.send(sent)
    carrier.close()
    (receipt,) = listener.posted
    sample = PAYLOADS / "receipt_delivered.json"
    assert receipt.keys() == json.loads(sample.read_text()).keys() | {"sig"}
    assert (receipt["msisdn"], receipt["to"]) == (sent.to, sent.sender)
    assert receipt["messageId"] == result.parts[0].message_id
    assert is_signed(receipt, settings.VONAGE_SIGNATURE_SECRETS, settings.VONAGE_SIGNATURE_METHOD)


@pytest.mark.parametrize(("text", "parts"), [("a" * 159 + "€", 2), ("a" * 160, 1)])
def test_simulator_counts_the_parts_that_vonage_bills(listener, settings, text, parts):
    settings.SIMULATOR_BASE_URL = listener.url
    carrier = SimulatorGateway()
    result = carrier.send(sms(text))
    carrier.close()
    assert len(result.parts) == parts


def test_a_late_reply_comes_later(asked, web, monkeypatch):
    monkeypatch.setattr(network, "LATE_REPLY_AFTER", 2)
    web.post(f"/simulator/{MSISDN}/switches", {"replies_late": "on"})
    said = web.post(f"/simulator/{MSISDN}/reply", {"text": "2"}, headers=FETCH)
    assert "On its way" in said.text
    assert not InboundMessage.objects.exists()
    assert until(InboundMessage.objects.filter(outcome=Outcome.MOVED).exists, 20)


@pytest.mark.parametrize("text", ["option 2", "2!", "\U0001f44d 2"])
@pytest.mark.parametrize("also", [{}, {"sends_twice": "on"}])
def test_a_phone_that_splits_sends_parts_and_the_reply_is_read_as_one(asked, web, text, also):
    web.post(f"/simulator/{MSISDN}/switches", {"splits": "on"} | also)
    web.post(f"/simulator/{MSISDN}/reply", {"text": text})
    last_part, first_part = InboundMessage.objects.order_by("pk")
    assert (last_part.part_number, first_part.part_number) == (2, 1)
    assert (first_part.outcome, first_part.whole) == (Outcome.MOVED, text)
    assert last_part.joined_in == first_part
    page = web.get(f"/simulator/{MSISDN}/")
    assert [bubble.text for bubble in page.context["bubbles"] if not bubble.is_ours] == [text]
    assert f"“{text}”" in page.text
    assert "Outcome: <b>moved</b>" in page.text
    assert f"<bdi>{text}</bdi>" in web.get("/simulator/").text


def test_a_text_of_one_character_is_sent_whole_by_a_phone_that_splits(asked, web):
    web.post(f"/simulator/{MSISDN}/switches", {"splits": "on"})
    web.post(f"/simulator/{MSISDN}/reply", {"text": "2"})
    inbound = InboundMessage.objects.get()
    assert (inbound.part_number, inbound.outcome) == (None, Outcome.MOVED)


def test_a_posted_part_looks_like_vonages(listener, settings):
    settings.SIMULATOR_BASE_URL = listener.url
    SimulatedPhone.objects.create(msisdn=MSISDN, splits=True)
    deliver_reply(MSISDN, "2 please", "447700900000")
    last, first = listener.posted
    assert [first["text"], last["text"]] == ["2 pl", "ease"]
    assert first["concat-ref"] == last["concat-ref"]
    assert first["messageId"] != last["messageId"]
    sample = PAYLOADS / "inbound_part_1_of_2.json"
    assert first.keys() == last.keys() == json.loads(sample.read_text()).keys() | {"sig"}


def test_a_switch_stays_until_it_is_switched_back(staff, booking):
    path = f"/simulator/{MSISDN}/switches"
    staff.post(path, {"fails": "on", "stays_silent": "on"})
    phone = SimulatedPhone.objects.get(msisdn=MSISDN)
    assert (phone.fails, phone.stays_silent, phone.sends_twice) == (True, True, False)
    staff.post(path, {"stays_silent": "on"})
    phone.refresh_from_db()
    assert (phone.fails, phone.stays_silent) == (False, True)


def test_refused_webhook_is_reported_to_the_simulator_user(asked, web, settings, monkeypatch):
    monkeypatch.setattr(network, "_signed", dict)
    said = web.post(f"/simulator/{MSISDN}/reply", {"text": "2"}, headers=FETCH)
    assert "answered with 401" in said.text
    assert not InboundMessage.objects.exists()


def test_simulator_sends_receipts(asked):
    message = OutboundMessage.objects.get()
    assert message.state == MessageState.DELIVERED
    receipts = DeliveryReceipt.objects.all()
    assert len(receipts) == message.parts
    assert {receipt.client_ref for receipt in receipts} == {message.attempts.get().client_ref}


def test_a_phone_that_fails_gets_a_failed_receipt(booking, web):
    SimulatedPhone.objects.create(msisdn=MSISDN, fails=True)
    notify(booking)
    call_command("run_outbox", drain=True)
    assert OutboundMessage.objects.get().state == MessageState.FAILED
    receipt = DeliveryReceipt.objects.all()[0]
    assert (receipt.status, receipt.err_code) == ("failed", "1")


def test_a_silent_phone_gets_no_receipt(booking, web):
    SimulatedPhone.objects.create(msisdn=MSISDN, stays_silent=True)
    notify(booking)
    call_command("run_outbox", drain=True)
    assert OutboundMessage.objects.get().state == MessageState.SUBMITTED
    assert not DeliveryReceipt.objects.exists()


def test_a_web_server_that_is_not_there_costs_receipts_and_nothing_else(booking, settings):
    settings.SIMULATOR_BASE_URL = "http://127.0.0.1:9"
    notify(booking)
    began = time.monotonic()
    call_command("run_outbox", drain=True)
    assert time.monotonic() - began < 5
    assert OutboundMessage.objects.get().state == MessageState.SUBMITTED


@pytest.mark.parametrize(
    ("text", "is_unicode", "parts"),
    [
        ("x" * 160, False, 1),
        ("x" * 161, False, 2),
        ("ł" * 70, True, 1),
        ("ł" * 71, True, 2),
        ("\U0001f44d" * 36, True, 2),
    ],
    ids=["160", "161", "70 UCS-2", "71 UCS-2", "72 units of emoji"],
)
def test_each_part_has_an_id_of_its_own(text, is_unicode, parts, settings):
    settings.SIMULATOR_BASE_URL = "http://127.0.0.1:9"
    carrier = SimulatorGateway()
    result = carrier.send(sms(text, is_unicode=is_unicode))
    carrier.close()
    assert result.verdict == Verdict.ACCEPTED
    assert len({part.message_id for part in result.parts}) == parts

"""What customers text and staff type is shown as text, on every page, in a real browser: never run, never obeyed.

Each payload sets `window.__xss` or opens a dialog if it runs. The policy of the admin allows Alpine to evaluate
expressions, so attributes matter as much as scripts.
"""

import json
import re
from itertools import count
from typing import Any

import pytest
from django.conf import settings as project
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from bookings.gateways.signature import sign
from bookings.models import (
    ActKind,
    Booking,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    Notification,
    OutboundMessage,
    SlotChange,
    StaffAct,
)
from bookings.reporting.timeline import visible
from tests.factories import (
    BookingFactory,
    ConsentChangeFactory,
    DeliveryReceiptFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SlotChangeFactory,
    SlotFactory,
    UserFactory,
)
from tests.flow.admin.pages import OURS, url
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOADS = [
    "<script>window.__xss=1</script>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<script src=//evil.example/x.js></script>",
    "<img src=x onerror=window.__xss=2>",
    "<img src=x onerror=alert(2)>",
    "<svg onload=window.__xss=3>",
    "<svg><script>window.__xss=4</script></svg>",
    "<body onload=alert(3)>",
    "<iframe srcdoc='<script>parent.__xss=5</script>'></iframe>",
    "<details open ontoggle=window.__xss=6>x</details>",
    "<input autofocus onfocus=window.__xss=7>",
    '" onmouseover="window.__xss=8" x="',
    "' onfocus='window.__xss=9' autofocus='",
    '"><script>window.__xss=10</script>',
    "'><img src=x onerror=window.__xss=11>",
    "javascript:window.__xss=12//",
    '<a href="javascript:window.__xss=13">click</a>',
    "<form action=javascript:alert(4)><button>go</button></form>",
    "{{ 7|add:42 }}{% now 'Y' %}",
    "{{constructor.constructor('window.__xss=14')()}}",
    "<div x-data x-init='window.__xss=15'>a</div>",
    '<div x-data="{a: window.__xss=16}">b</div>',
    "<div x-data @click='window.__xss=17' x-html=\"'<img src=x onerror=alert(5)>'\">c</div>",
    '" x-data x-init="window.__xss=18" y="',
    "<button hx-get='/admin/' hx-trigger=load hx-on::load='window.__xss=19'>d</button>",
    "</textarea><script>window.__xss=20</script>",
    "</title></style></script><script>window.__xss=21</script>",
    "--><!--<script>window.__xss=22</script>",
    "\u202e<script>window.__xss=23</script>\u2066",
    "nul\0<script\0>window.__xss=24</script>",
]
MARKUP = {
    "a script": PAYLOADS[0],
    "an image": PAYLOADS[3],
    "an Alpine attribute": PAYLOADS[20],
    "a broken attribute": PAYLOADS[23],
}
OTHERS: list[Any] = [DeliveryReceipt, ConsentChange, StaffAct, SlotChange, Notification]
_ids = count(1)


def text_from(msisdn: str, text: str) -> InboundMessage:
    """Send a customer's text to the real webhook."""
    values = {
        "msisdn": msisdn,
        "to": VIRTUAL_NUMBER,
        "messageId": f"0D{next(_ids):014X}",
        "text": text,
        "type": "text",
    }
    values["sig"] = sign(values, project.VONAGE_SIGNATURE_SECRETS[0], "sha256")
    answer = Client().post(
        "/webhooks/inbound-sms", json.dumps(values), content_type="application/json"
    )
    assert answer.status_code == 200
    return InboundMessage.objects.get(gateway_message_id=values["messageId"])


def stored_as(payload: str) -> str:
    """Return the payload as stored: without NUL, which databases reject."""
    return payload.replace("\0", "\ufffd")


@pytest.fixture
def stored() -> list[InboundMessage]:
    """Create a customer for each payload, who has it as a name and texts it."""
    slot = SlotFactory.create(capacity=None)
    texts = []
    for payload in PAYLOADS:
        name = stored_as(payload)
        booking = BookingFactory.create(customer_name=name, notes=name, slot=slot)
        notification = NotificationFactory.create(booking=booking)
        message = OutboundMessageFactory.create(notification=notification)
        SendAttemptFactory.create(message=message)
        texts.append(text_from(booking.msisdn, payload))
    return texts


@pytest.fixture
def evidence(stored) -> str:
    """Store all payloads in the other fields that pages show, even in those that the network fills."""
    words = "\n".join(inbound.text for inbound in stored)
    booking = BookingFactory.create(notes=words)
    user = UserFactory.create(first_name=PAYLOADS[3], last_name=PAYLOADS[20])
    inbound = InboundMessage.objects.order_by("pk")[0]
    change = SlotChangeFactory.create(booking=booking, user=user)
    OutboundMessageFactory.create(
        booking=booking, text=words, kind=Kind.STAFF, in_reply_to=inbound, reason=words[:300]
    )
    ConsentChangeFactory.create(msisdn=booking.msisdn, words=words[:200], inbound=inbound)
    DeliveryReceiptFactory.create(status=PAYLOADS[0], raw={"<script>": words, "msisdn": words})
    StaffAct.objects.create(kind=ActKind.REVEALED, user=user, booking=booking, details=words[:500])
    assert change.pk
    return words


@pytest.fixture
def staff(page, client, live_server):
    """Open a superuser's browser; a script that runs or a dialog that opens is an error."""
    user = UserFactory.create(is_superuser=True)
    client.force_login(user)
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value}
    page.context.add_cookies([session | {"url": live_server.url}])
    return page


@pytest.fixture
def look(staff, complaints):
    """Open a page, hover its elements, return its words, and fail if a payload ran."""
    staff.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))

    def open_page(address: str) -> str:
        staff.goto(address)
        return seen(staff, complaints)

    return open_page


def seen(page, complaints) -> str:
    """Return the page's words once it is loaded and its elements were hovered."""
    page.evaluate(
        "document.querySelectorAll('[onmouseover],[onfocus],[x-data]')"
        ".forEach(part => part.dispatchEvent(new Event('mouseover')))"
    )
    assert page.evaluate("window.__xss") is None, page.url
    assert complaints == [], page.url
    return squeezed(page.evaluate("document.body.innerText"))


def squeezed(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()


def shown(text: str) -> str:
    return squeezed(visible(text))


def test_there_are_thirty_payloads_and_each_is_stored_as_it_came(stored):
    assert len(set(PAYLOADS)) == 30
    assert [inbound.text for inbound in stored] == [stored_as(payload) for payload in PAYLOADS]


def test_every_list_shows_texts_and_names_as_text(stored, evidence, look):
    for model in OURS:
        words = look(url(model, "changelist"))
        if model is InboundMessage:
            assert all(shown(inbound.text) in words for inbound in stored)
        if model is Booking:
            names = Booking.objects.exclude(notes=evidence).values_list("customer_name", flat=True)
            assert all(shown(name) in words for name in names)


def test_message_page_shows_payload_as_text(stored, look):
    for inbound in stored:
        assert shown(inbound.text) in look(url(InboundMessage, "change", inbound.pk))


def test_booking_timeline_shows_payloads_as_text(stored, look):
    for inbound in stored:
        assert inbound.booking is not None
        words = look(url(Booking, "change", inbound.booking.pk))
        assert words.count(shown(inbound.text)) >= 2  # what was texted, and the name in the story


def test_other_pages_show_payloads_as_text(evidence, look):
    lines = [shown(line) for line in evidence.splitlines()]
    rows = [
        OutboundMessage.objects.get(text=evidence),
        *(model.objects.order_by("-pk")[0] for model in OTHERS),
    ]
    for row in rows:
        model = type(row)
        words = look(url(model, "change", row.pk)).replace('\\"', '"')
        if model in {OutboundMessage, DeliveryReceipt}:
            assert [line for line in lines if line not in words] == []
        look(url(model, "history", row.pk))


def test_confirmation_pages_show_payloads_as_text(stored, staff, complaints):
    InboundMessage.objects.update(outcome="error")
    for model, action in ((InboundMessage, "run_again"), (Booking, "notify_customers")):
        staff.goto(url(model, "changelist"))
        staff.evaluate(
            """action => {
              const form = document.getElementById("changelist-form");
              form.querySelectorAll("input.action-select").forEach(box => { box.checked = true; });
              form.querySelector("select[name=action]").value = action;
              HTMLFormElement.prototype.submit.call(form);
            }""",
            action,
        )
        staff.wait_for_selector(".confirm")
        staff.evaluate("document.querySelectorAll('details').forEach(all => { all.open = true; })")
        words = seen(staff, complaints)
        assert all(shown(inbound.text) in words for inbound in stored)


def test_simulated_phones_show_payloads_as_text(stored, look):
    listed = look("/simulator/")
    for inbound in stored:
        assert squeezed(inbound.text)[:60] in listed
        words = look(f"/simulator/{inbound.msisdn}/")
        assert squeezed(inbound.text) in words


def test_progress_page_shows_payloads_as_text(stored, look):
    notification = Notification.objects.order_by("pk")[0]
    InboundMessage.objects.update(notification=notification)
    words = look(reverse("notification-progress", args=[notification.pk]))
    assert all(shown(inbound.text) in words for inbound in stored)


def test_notify_form_shows_payloads_as_text(stored, staff, complaints):
    for inbound in stored:
        staff.goto("/")
        staff.get_by_label("Name").fill(inbound.text)
        staff.get_by_label("Phone number").fill(inbound.text[:40])
        staff.get_by_label("Reference").fill(inbound.text[:40])
        staff.get_by_role("button", name="Book and send the SMS").click()
        staff.wait_for_selector(".errors li")
        complaints[:] = [said for said in complaints if "400 (Bad Request)" not in said]
        seen(staff, complaints)
        typed = staff.get_by_label("Name").input_value()
        assert typed == inbound.text.replace("\n", "")


@pytest.mark.parametrize("payload", MARKUP.values(), ids=MARKUP)
def test_unescaped_page_fails_the_check(payload, stored, staff, complaints):
    inbound = InboundMessage.objects.filter(text=payload).get()

    def forget_to_escape(route) -> None:
        answer = route.fetch()
        body = answer.text()
        raw = f'<i title="{payload}">' if payload.startswith('"') else payload
        assert escape(payload) in body
        route.fulfill(response=answer, body=body.replace(escape(payload), raw))

    staff.route("**/change/", forget_to_escape)
    staff.goto(url(InboundMessage, "change", inbound.pk))
    with pytest.raises(AssertionError):
        seen(staff, complaints)

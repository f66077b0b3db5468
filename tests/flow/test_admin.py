"""The admin: every page opens for whom it should, finds what it should, and changes nothing it should not."""

import re
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from bookings.admin import asking
from bookings.admin.navigation import navigation
from bookings.models import (
    Booking,
    BookingState,
    Circuit,
    Consent,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    Slot,
    SlotChange,
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
    UserFactory,
    in_days,
)

if TYPE_CHECKING:
    from bookings.admin.mixins import KeptAdmin

OURS: list[Any] = [model for model in admin.site._registry if model._meta.app_label == "bookings"]
HISTORY = [model for model in OURS if model not in {Booking, Slot}]
#: What Dispatch and Ops have no business with.
STAFF: list[Any] = [model for model in admin.site._registry if model._meta.app_label == "auth"]
EVERYONE = ["superuser", "Dispatch", "Ops"]

pytestmark = pytest.mark.django_db


def name_of(model) -> str:
    return str(model._meta.model_name)


def login(group: str) -> Client:
    user = UserFactory.create(is_superuser=group == "superuser")
    if group != "superuser":
        user.groups.add(Group.objects.get(name=group))
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


@pytest.fixture(params=EVERYONE)
def staff(request) -> Client:
    return login(request.param)


@pytest.fixture
def dispatcher() -> Client:
    return login("Dispatch")


@pytest.fixture
def superuser() -> Client:
    return login("superuser")


def url(model, page: str, *args) -> str:
    options = model._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=args)


def make_story(count: int = 1) -> None:
    """Rows in every table: questions, replies, answers, moves, receipts, refusals."""
    for _ in range(count):
        notification = NotificationFactory.create(asked_by=UserFactory.create())
        booking = notification.booking
        message = OutboundMessageFactory.create(
            notification=notification, state=MessageState.DELIVERED, user=UserFactory.create()
        )
        attempt = SendAttemptFactory.create(message=message)
        SentPartFactory.create(attempt=attempt)
        DeliveryReceiptFactory.create(attempt=attempt)
        inbound = InboundMessageFactory.create(
            notification=notification, option=notification.options.get(digit=2), text="2 please"
        )
        SlotChangeFactory.create(
            booking=booking, inbound=inbound, cause="reply", user=UserFactory.create()
        )
        OutboundMessageFactory.create(
            booking=booking, in_reply_to=inbound, kind=Kind.ACKNOWLEDGEMENT
        )
        ConsentChangeFactory.create(
            msisdn=booking.msisdn, inbound=inbound, user=UserFactory.create()
        )
    Circuit.objects.get_or_create(
        pk=1, defaults={"opened_at": timezone.now(), "reason": "No balance"}
    )


# Every page opens


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_every_list_and_every_row_opens_for_everyone(model, staff):
    make_story(2)
    assert staff.get(url(model, "changelist")).status_code == 200
    for row in model.objects.all():
        assert staff.get(url(model, "change", row.pk)).status_code == 200
        assert staff.get(url(model, "history", row.pk)).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_an_empty_list_says_what_to_do(model, staff):
    says = cast("KeptAdmin", admin.site._registry[model]).empty_says
    assert says
    assert escape(says) in staff.get(url(model, "changelist")).content.decode()


@pytest.mark.parametrize("model", STAFF, ids=name_of)
def test_users_and_groups_are_for_superusers_in_the_themes_forms(model, superuser, dispatcher):
    UserFactory.create()
    for page in (url(model, "changelist"), url(model, "add")):
        assert superuser.get(page).status_code == 200
        assert dispatcher.get(page).status_code == 403
    row = model.objects.first()
    assert superuser.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", [Booking, Slot], ids=name_of)
@pytest.mark.parametrize(("group", "status"), [("superuser", 200), ("Dispatch", 200), ("Ops", 403)])
def test_bookings_and_slots_are_added_by_dispatch(model, group, status):
    assert login(group).get(url(model, "add")).status_code == status


@pytest.mark.parametrize("group", EVERYONE)
def test_the_index_opens(group):
    assert login(group).get("/admin/").status_code == 200


def test_nobody_who_is_not_staff_comes_in():
    client = Client()
    client.force_login(UserFactory.create(is_staff=False))
    for model in OURS:
        assert client.get(url(model, "changelist")).status_code == 302


# History cannot be changed


@pytest.mark.parametrize("model", HISTORY, ids=name_of)
def test_history_is_never_added_changed_or_deleted_by_anyone(model, staff):
    make_story()
    row = model.objects.first()
    before = list(model.objects.values())
    add, change = url(model, "add"), url(model, "change", row.pk)
    delete = url(model, "delete", row.pk)
    fields = {field.name: "7" for field in model._meta.fields}
    for method in (staff.get, staff.post):
        assert method(add, fields).status_code == 403
        assert method(delete, {"post": "yes"}).status_code == 403
    assert staff.post(change, fields).status_code == 403
    act = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    staff.post(url(model, "changelist"), act)
    assert list(model.objects.values()) == before


@pytest.mark.parametrize("model", [Booking, Slot], ids=name_of)
def test_bookings_and_slots_are_never_deleted(model, staff):
    make_story()
    row = model.objects.first()
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    act = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    staff.post(url(model, "changelist"), act)
    assert model.objects.filter(pk=row.pk).exists()


def test_users_are_not_deleted_since_their_names_stand_in_the_history(superuser):
    user = UserFactory.create()
    model = type(user)
    assert superuser.post(url(model, "delete", user.pk), {"post": "yes"}).status_code == 403


def test_ops_can_change_nothing():
    make_story()
    ops = login("Ops")
    booking, slot = Booking.objects.get(), Slot.objects.first()
    assert slot is not None
    stored = [list(model.objects.values()) for model in OURS]
    assert (
        ops.post(url(Booking, "change", booking.pk), form_of(booking, cancelled="on")).status_code
        == 403
    )
    assert ops.post(url(Slot, "change", slot.pk), {"capacity": 0}).status_code == 403
    assert ops.post(url(Booking, "add"), new_booking(slot)).status_code == 403
    assert ops.post(url(Booking, "notify"), {"bookings": booking.pk}).status_code == 403
    choose(ops, [booking])
    act = {"action": "close_circuit", "_selected_action": [1]}
    ops.post(url(Circuit, "changelist"), act)
    assert [list(model.objects.values()) for model in OURS] == stored


def test_ops_see_everything():
    ops = Group.objects.get(name="Ops")
    codenames = set(ops.permissions.values_list("codename", flat=True))
    models = apps.get_app_config("bookings").get_models()
    assert codenames == {f"view_{model._meta.model_name}" for model in models}


def test_dispatch_may_do_its_work_and_no_more():
    make = Group.objects.get(name="Dispatch").permissions.exclude(codename__startswith="view_")
    assert set(make.values_list("codename", flat=True)) == {
        *("add_booking", "change_booking", "notify_booking"),
        *("add_slot", "change_slot"),
    }


# No query per row


def queries_of_lists(client: Client) -> dict[str, int]:
    counts = {}
    for model in OURS:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(url(model, "changelist")).status_code == 200
        counts[name_of(model)] = len(captured)
    return counts


def test_queries_do_not_grow_with_rows(superuser):
    make_story(10)
    superuser.get("/admin/")
    few = queries_of_lists(superuser)
    make_story(30)
    assert queries_of_lists(superuser) == few


# Search


@pytest.fixture
def wanted() -> Booking:
    for number in range(2, 5):
        InboundMessageFactory.create(
            booking=BookingFactory.create(msisdn=f"44770090000{number}"), text="something else"
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
    SlotChangeFactory.create(booking=booking, inbound=inbound)
    ConsentChangeFactory.create(msisdn=booking.msisdn, words="STOP it")
    return booking


def found(client: Client, model, term: str) -> list:
    response = client.get(url(model, "changelist"), {"q": term})
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


PHONE = [
    "07700 900 001",
    "+44 7700 900001",
    "0044 7700 900001",
    "(07700) 900-001",
    "447700900001",
    "900 001",
]
BY_PHONE = [name for name in HISTORY if name is not Circuit]


@pytest.mark.parametrize("term", PHONE)
def test_a_phone_number_is_found_however_it_is_written(term, wanted, superuser):
    for model in [Booking, *BY_PHONE]:
        (row,) = found(superuser, model, term)
        owner = row if model is Booking else getattr(row, "booking", None)
        assert owner in {wanted, None}


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


def test_a_search_for_nobody_finds_nobody(wanted, superuser):
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
def test_bookings_are_filtered_by_how_far_their_customer_was_asked(asked, reference, superuser):
    BookingFactory.create(reference="NEW")
    NotificationFactory.create(booking__reference="WAITS")
    answered = NotificationFactory.create(booking__reference="ANSWERED")
    InboundMessageFactory.create(notification=answered, attention="Look at it.")
    lost = NotificationFactory.create(booking__reference="LOST")
    OutboundMessageFactory.create(notification=lost, state=MessageState.FAILED)

    page = superuser.get(url(Booking, "changelist"), {"asked": asked})

    references = {row.reference for row in page.context["cl"].result_list}
    assert reference in references
    assert references <= {reference, "LOST"} if asked == "waiting" else references == {reference}


@pytest.mark.parametrize(("asked", "reference"), [("not_reached", "LINE"), ("attention", "NOTICE")])
def test_who_cannot_be_texted_or_cannot_answer_is_found(asked, reference, superuser):
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


def test_what_lies_ahead_comes_before_what_is_past(superuser):
    for reference, days in (("PAST", -2), ("LATER", 5), ("TOMORROW", 1)):
        BookingFactory.create(reference=reference, slot__date=in_days(days))
    page = superuser.get(url(Booking, "changelist"))
    listed = [row.reference for row in page.context["cl"].result_list]
    assert listed == ["TOMORROW", "LATER", "PAST"]


def test_what_needs_attention_is_filtered(superuser):
    model = apps.get_model("bookings.InboundMessage")
    InboundMessageFactory.create()
    wanted = InboundMessageFactory.create(attention="Wrote without an open question.")
    page = superuser.get(url(model, "changelist"), {"attention": "yes"})
    assert list(page.context["cl"].result_list) == [wanted]


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
    "where", ["booking", "inbound", "list", "answer", "move", "consent", "acts"]
)
def test_a_customers_text_is_escaped_and_its_control_characters_are_visible(where, superuser):
    notification = NotificationFactory.create()
    inbound = InboundMessageFactory.create(
        notification=notification, text=NASTY, matched=NASTY, attention=NASTY, raw={"text": NASTY}
    )
    answer = OutboundMessageFactory.create(booking=notification.booking, in_reply_to=inbound)
    move = SlotChangeFactory.create(booking=notification.booking, inbound=inbound)
    consent = ConsentChangeFactory.create(words=NASTY, inbound=inbound)
    pages = {
        "booking": url(Booking, "change", notification.booking.pk),
        "inbound": url(type(inbound), "change", inbound.pk),
        "list": url(type(inbound), "changelist"),
        "answer": url(OutboundMessage, "change", answer.pk),
        "move": url(SlotChange, "change", move.pk),
        "consent": url(type(consent), "change", consent.pk),
        "acts": url(type(inbound), "history", inbound.pk),
    }
    page = superuser.get(pages[where]).content.decode()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "\x07" not in page
    assert where == "acts" or "&lt;script&gt;alert(1)&lt;/script&gt;[U+202E][U+0007]" in page


def test_no_page_of_ours_has_a_script_of_its_own(superuser):
    make_story()
    for page in ("changelist", "add"):
        html = superuser.get(url(Booking, page)).content.decode()
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", html)
        assert [tag for tag in scripts if "application/json" not in tag] == []


# One booking


def test_why_a_parcel_moved_is_answered_on_its_page(dispatcher):
    make_story()
    booking = Booking.objects.get()
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    why = html[html.index("Why it is on") : html.index("Everything that happened")]
    assert f"Moved to {booking.slot}" in why
    assert why.rindex("2 please") > why.rindex("Moved to")


def form_of(booking: Booking, **changes) -> dict:
    """What the change page posts."""
    fields = {
        "customer_name": booking.customer_name,
        "msisdn": f"+{booking.msisdn}",
        "slot": booking.slot_id,
        "language": booking.language,
        "notes": booking.notes,
        "seen": f"{booking.slot_id}-{booking.msisdn}-{booking.is_scheduled}",
    }
    if not booking.is_scheduled:
        fields["cancelled"] = "on"
    return fields | changes


def new_booking(slot: Slot, **fields) -> dict:
    return {
        "reference": "NEW-1",
        "customer_name": "Mary",
        "msisdn": "07700 900 123",
        "slot": slot.pk,
        "language": "en",
        "notes": "",
    } | fields


def save(client: Client, booking: Booking, **changes):
    return client.post(url(Booking, "change", booking.pk), form_of(booking, **changes))


def errors(response) -> str:
    assert response.status_code == 200
    return " ".join(str(error) for error in response.context["errors"])


def test_staff_move_a_booking_through_dispatch(dispatcher):
    notification = NotificationFactory.create()
    booking, slot = notification.booking, SlotFactory.create(date=in_days(6))

    assert save(dispatcher, booking, slot=slot.pk).status_code == 302

    change = SlotChange.objects.get(booking=booking)
    assert (change.to_slot, change.cause, change.user is not None) == (slot, "staff", True)
    notification.refresh_from_db()
    assert notification.state == NotificationState.WITHDRAWN


def test_staff_change_a_phone_number_and_it_stands_in_the_story(dispatcher):
    notification = NotificationFactory.create(booking__msisdn="447700900001")
    booking = notification.booking

    assert save(dispatcher, booking, msisdn="07700 900 002").status_code == 302

    booking.refresh_from_db()
    notification.refresh_from_db()
    assert (booking.msisdn, notification.state) == ("447700900002", NotificationState.WITHDRAWN)
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    assert "Phone number changed from +44 7700 900001 to +44 7700 900002" in html


def test_staff_cancel_a_booking_and_take_it_back(dispatcher):
    booking = NotificationFactory.create().booking

    save(dispatcher, booking, cancelled="on")
    booking.refresh_from_db()
    assert booking.state == BookingState.CANCELLED
    assert booking.cancelled_by is not None
    assert Notification.objects.get().state == NotificationState.WITHDRAWN

    fields = form_of(booking)
    del fields["cancelled"]
    dispatcher.post(url(Booking, "change", booking.pk), fields)
    booking.refresh_from_db()
    assert booking.state == BookingState.SCHEDULED
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    assert html.index("Cancelled") < html.index("Reinstated")


def test_notes_change_nothing_else(dispatcher):
    notification = NotificationFactory.create()
    save(dispatcher, notification.booking, notes="Ring twice")
    notification.refresh_from_db()
    assert notification.booking.notes == "Ring twice"
    assert notification.state == NotificationState.OPEN
    assert not SlotChange.objects.exists()


@pytest.mark.parametrize(("capacity", "sentence"), [(0, "is closed"), (1, "is full")])
def test_a_slot_without_room_is_refused_in_the_form_and_nothing_changes(
    capacity, sentence, dispatcher
):
    booking = BookingFactory.create(notes="as before")
    slot = SlotFactory.create(date=in_days(6), capacity=capacity)
    BookingFactory.create(slot=slot)

    response = save(dispatcher, booking, slot=slot.pk, notes="changed", msisdn="07700 900 002")

    assert sentence in errors(response)
    before = (booking.slot_id, booking.msisdn, booking.notes)
    booking.refresh_from_db()
    assert (booking.slot_id, booking.msisdn, booking.notes) == before


def test_a_move_that_the_customer_made_meanwhile_is_not_undone(dispatcher):
    booking = BookingFactory.create()
    fields = form_of(booking, notes="seen before the reply")
    moved_to = SlotFactory.create(date=in_days(6))
    Booking.objects.filter(pk=booking.pk).update(slot=moved_to)

    response = dispatcher.post(url(Booking, "change", booking.pk), fields)

    assert "changed while you had it open" in errors(response)
    booking.refresh_from_db()
    assert (booking.slot, booking.notes) == (moved_to, "")


def test_staff_add_a_booking_with_a_number_in_usual_formatting(dispatcher):
    slot = SlotFactory.create()
    assert dispatcher.post(url(Booking, "add"), new_booking(slot)).status_code == 302
    booking = Booking.objects.get(reference="NEW-1")
    assert (booking.msisdn, booking.slot) == ("447700900123", slot)
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    assert re.search(r"Booked as NEW-1.*by dispatcher\d+", html)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("as shown", "12025550143"), ("+49 151 23456789", "4915123456789")],
    ids=["a US number as it is", "a new German number"],
)
def test_a_booking_keeps_or_gets_a_number_of_another_country(typed, stored, dispatcher):
    booking = BookingFactory.create(msisdn="12025550143")
    page = dispatcher.get(url(Booking, "change", booking.pk))
    shown = page.context["adminform"].form["msisdn"].value()
    assert shown == "+1 202-555-0143"

    changes = {"msisdn": shown if typed == "as shown" else typed, "notes": "Ring twice"}
    assert save(dispatcher, booking, **changes).status_code == 302

    booking.refresh_from_db()
    assert (booking.msisdn, booking.notes) == (stored, "Ring twice")


UNTOLD = "The customer has not been told: call +44 7700 900001"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"slot": "later"}, f"{UNTOLD}, or notify again."),
        ({"cancelled": "on"}, f"{UNTOLD}."),
        (
            {"msisdn": "07700 900 002"},
            "The customer has not been told: call +44 7700 900002, or notify again.",
        ),
        ({"notes": "Ring twice"}, None),
    ],
    ids=["moved", "cancelled", "phone changed", "notes"],
)
@pytest.mark.parametrize("knows", ["asked", "wrote", "nothing"])
def test_staff_read_that_a_customer_who_knows_of_it_was_not_told(
    knows, changes, sentence, dispatcher
):
    booking = BookingFactory.create(msisdn="447700900001")
    if knows == "asked":
        NotificationFactory.create(booking=booking)
    if knows == "wrote":
        InboundMessageFactory.create(booking=booking)
    if "slot" in changes:
        changes = {"slot": SlotFactory.create(date=in_days(6)).pk}

    save(dispatcher, booking, **changes)

    html = dispatcher.get(url(Booking, "changelist")).content.decode()
    said = re.findall(r"The customer has not been told[^<]*?\.", html)
    assert said == ([] if knows == "nothing" or sentence is None else [sentence])


def test_the_form_says_that_a_change_is_told_to_nobody(dispatcher):
    fields = (
        dispatcher.get(url(Booking, "change", BookingFactory.create().pk))
        .context["adminform"]
        .form.fields
    )
    for name in ("slot", "msisdn", "cancelled"):
        assert "The customer is not told" in fields[name].help_text
    new = dispatcher.get(url(Booking, "add")).context["adminform"].form.fields
    assert "is not told" not in new["slot"].help_text + new["msisdn"].help_text


def test_the_language_is_one_that_there_are_texts_in(dispatcher):
    slot = SlotFactory.create()
    page = dispatcher.post(url(Booking, "add"), new_booking(slot, language="xx"))
    assert "Select a valid choice" in errors(page)
    assert page.context["adminform"].form.fields["language"].choices == [("en", "English")]


def test_an_imported_language_without_texts_of_ours_is_kept(dispatcher):
    booking = BookingFactory.create(language="cy")
    assert save(dispatcher, booking, notes="Ring twice").status_code == 302
    booking.refresh_from_db()
    assert (booking.language, booking.notes) == ("cy", "Ring twice")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"msisdn": "hello"}, "is not a phone number"),
        ({"msisdn": "0770"}, "is not a phone number that can be texted"),
        ({"reference": ""}, "required"),
        ({"reference": "TAKEN"}, "already exists"),
    ],
    ids=["no number", "too short", "no reference", "reference taken"],
)
def test_a_booking_that_makes_no_sense_is_refused(fields, sentence, dispatcher):
    BookingFactory.create(reference="TAKEN")
    slot = SlotFactory.create(capacity=5)
    assert sentence in errors(dispatcher.post(url(Booking, "add"), new_booking(slot, **fields)))
    assert Booking.objects.count() == 1


def test_a_booking_for_a_full_slot_is_refused(dispatcher):
    slot = SlotFactory.create(date=in_days(9), capacity=1)
    BookingFactory.create(slot=slot)
    response = dispatcher.post(url(Booking, "add"), new_booking(slot))
    assert "is full" in errors(response)
    assert not Booking.objects.filter(reference="NEW-1").exists()


def test_only_the_capacity_of_a_slot_can_change(dispatcher):
    slot = SlotFactory.create(capacity=5)
    fields = {"date": "2030-01-01", "place": Place.POST_OFFICE, "capacity": 7}
    assert dispatcher.post(url(Slot, "change", slot.pk), fields).status_code == 302
    date = slot.date
    slot.refresh_from_db()
    assert (slot.capacity, slot.date, slot.place) == (7, date, Place.DOOR)


def test_an_empty_capacity_is_no_limit_but_one_that_was_not_sent_changes_nothing(dispatcher):
    slot = SlotFactory.create(capacity=5)
    assert "how many deliveries fit" in errors(dispatcher.post(url(Slot, "change", slot.pk), {}))
    slot.refresh_from_db()
    assert slot.capacity == 5

    dispatcher.post(url(Slot, "change", slot.pk), {"capacity": ""})
    slot.refresh_from_db()
    assert slot.capacity is None


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [
        ([Outcome.MOVED, Outcome.THANKS], Outcome.MOVED),
        ([Outcome.KEPT, Outcome.MOVED, Outcome.NOT_UNDERSTOOD], Outcome.MOVED),
        ([Outcome.ALREADY, Outcome.FULL], Outcome.ALREADY),
        ([Outcome.NOT_UNDERSTOOD, Outcome.THANKS], Outcome.THANKS),
        ([], None),
    ],
)
@pytest.mark.parametrize("model", [Booking, Notification], ids=name_of)
def test_the_answer_in_a_list_is_the_last_valid_choice_or_else_the_last_outcome(
    model, outcomes, shown, superuser
):
    notification = NotificationFactory.create()
    for outcome in outcomes:
        InboundMessageFactory.create(notification=notification, outcome=outcome)
    (row,) = superuser.get(url(model, "changelist")).context["cl"].result_list
    assert row.answer_outcome == shown


def test_a_long_text_is_cut_in_lists_and_whole_on_its_page(superuser):
    text = "word " * 2000 + "END"
    for row in (
        InboundMessageFactory.create(text=text),
        OutboundMessageFactory.create(text=text),
    ):
        listed = superuser.get(url(type(row), "changelist")).content.decode()
        assert "word" in listed
        assert "word …" in listed or "word…" in listed
        assert "END" not in listed
        assert "word END" in superuser.get(url(type(row), "change", row.pk)).content.decode()


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_a_reference_that_turns_the_direction_of_writing_is_shown_as_such(model, superuser):
    make_story()
    Booking.objects.update(reference="P-\u202e1", customer_name="\u202eyraM")
    assert "\u202e" not in superuser.get(url(model, "changelist")).content.decode()


# Asking many


def choose(client: Client, bookings, **more):
    act = {"action": "notify_customers", "_selected_action": [booking.pk for booking in bookings]}
    return client.post(url(Booking, "changelist"), act | more)


def hidden_fields(html: str) -> dict[str, str]:
    form = html[html.index('class="confirm"') :]
    return dict(re.findall(r'name="(bookings|nonce|sender)" value="([^"]*)"', form))


def test_the_confirmation_page_says_who_will_be_texted_what_and_who_not_and_why(dispatcher):
    fine = BookingFactory.create(reference="FINE", msisdn="447700900001")
    out = BookingFactory.create(reference="OUT")
    Consent.objects.create(msisdn=out.msisdn, is_opted_out=True)
    waiting = NotificationFactory.create(booking__reference="WAITING").booking

    html = choose(dispatcher, [fine, out, waiting]).content.decode()

    assert "1 customer will be texted" in html
    assert "+44 7700 900001" in html
    assert "Acme: your parcel FINE" in html
    refused = html[html.index("2 will not be texted") :]
    assert "opted out" in refused
    assert "can still answer until" in refused
    assert not OutboundMessage.objects.exists()


def test_confirmed_customers_are_texted_once_though_the_page_is_submitted_twice(dispatcher):
    bookings = BookingFactory.create_batch(3)
    fields = hidden_fields(choose(dispatcher, bookings).content.decode())

    first = dispatcher.post(url(Booking, "notify"), fields, follow=True)
    second = dispatcher.post(url(Booking, "notify"), fields, follow=True)

    assert "Texts queued: 3." in first.content.decode()
    assert "3 not texted again" in second.content.decode()
    assert OutboundMessage.objects.count() == 3
    assert {row.asked_by is not None for row in Notification.objects.all()} == {True}


def test_a_customer_who_was_asked_since_the_page_was_shown_is_left_out(dispatcher):
    booking = BookingFactory.create()
    fields = hidden_fields(choose(dispatcher, [booking]).content.decode())
    NotificationFactory.create(booking=booking)
    page = dispatcher.post(url(Booking, "notify"), fields, follow=True)
    assert "can still answer until" in page.content.decode()
    assert not OutboundMessage.objects.exists()


def test_one_customer_is_asked_from_the_page_of_the_booking(dispatcher):
    booking = BookingFactory.create()
    page = dispatcher.post(url(Booking, "notify"), {"bookings": str(booking.pk)})
    assert "1 customer will be texted" in page.content.decode()


def test_too_many_at_once_are_refused_in_a_sentence(dispatcher, monkeypatch):
    monkeypatch.setattr(asking, "MOST_AT_ONCE", 2)
    page = choose(dispatcher, BookingFactory.create_batch(3)).url
    html = dispatcher.get(page).content.decode()
    assert "3 bookings are chosen, and at most 2 can be notified at once" in html
    assert not OutboundMessage.objects.exists()


def test_asking_needs_a_post_with_a_token():
    booking = BookingFactory.create()
    client = login("Dispatch")
    assert client.get(url(Booking, "notify")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(url(Booking, "notify"), {"bookings": booking.pk}).status_code == 403


def test_a_form_without_a_number_of_its_own_asks_again_instead_of_sending(dispatcher):
    booking = BookingFactory.create()
    fields = {"bookings": str(booking.pk), "nonce": "x", "sender": "447700900000"}
    page = dispatcher.post(url(Booking, "notify"), fields)
    assert "1 customer will be texted" in page.content.decode()
    assert not OutboundMessage.objects.exists()


def test_two_parcels_on_one_phone_are_asked_with_the_digits_that_were_shown(dispatcher):
    later = SlotFactory.create(date=in_days(5))
    first = BookingFactory.create(msisdn="447700900001", slot=later)  # listed after the second
    second = BookingFactory.create(msisdn=first.msisdn)
    page = choose(dispatcher, [first, second])
    shown = {one.plan.booking.pk: one.plan.text for one in page.context["asked"]}

    dispatcher.post(url(Booking, "notify"), hidden_fields(page.content.decode()))

    sent = dict(OutboundMessage.objects.values_list("booking_id", "text"))
    assert sent == shown
    digits = {option.digit for row in Notification.objects.all() for option in row.options.all()}
    assert digits == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("sender", ["447700900555", "ACME"])
def test_nothing_is_sent_from_a_number_that_is_not_ours(sender, dispatcher):
    fields = hidden_fields(choose(dispatcher, [BookingFactory.create()]).content.decode())
    dispatcher.post(url(Booking, "notify"), fields | {"sender": sender})
    assert not OutboundMessage.objects.exists()


def test_staff_pick_the_number_to_send_from_where_there_are_several(dispatcher, settings):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900099"]
    booking = BookingFactory.create()
    html = choose(dispatcher, [booking]).content.decode()
    assert "+44 7700 900099" in html
    dispatcher.post(url(Booking, "notify"), hidden_fields(html) | {"sender": "447700900099"})
    assert OutboundMessage.objects.get().sender == "447700900099"


# The sidebar


def links(group: str) -> dict[str, str]:
    """What this group sees in the sidebar."""
    request = RequestFactory().get("/admin/")
    request.user = login(group).get("/admin/").wsgi_request.user
    shown = [item for heading in navigation(request) for item in heading["items"]]
    return {item["title"]: item["link"] for item in shown if item["permission"](request)}


def test_the_sidebar_shows_what_one_may_open():
    everything, dispatch, ops = links("superuser"), links("Dispatch"), links("Ops")
    assert set(everything) - set(dispatch) == {"Users", "Groups"}
    assert set(dispatch) - set(ops) == {"Notify a customer"}
    assert everything["Notify a customer"] == "/"


def test_every_link_of_the_sidebar_opens(superuser):
    for link in links("superuser").values():
        assert superuser.get(link).status_code == 200


def test_the_simulator_is_in_the_sidebar_only_where_it_is_the_gateway(settings):
    assert "Simulator" in links("superuser")
    settings.SMS_GATEWAY = "vonage"
    assert "Simulator" not in links("superuser")


def test_an_open_circuit_is_seen_from_every_page(rf, admin_user):
    request = rf.get("/admin/")
    request.user = admin_user
    Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")
    badges = [item.get("badge") for heading in navigation(request) for item in heading["items"]]
    assert [badge for badge in badges if badge] == ["open"]


# The circuit


@pytest.fixture
def open_circuit() -> Circuit:
    return Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")


def close(client: Client):
    act = {"action": "close_circuit", "_selected_action": [1]}
    return client.post(url(Circuit, "changelist"), act, follow=True)


def test_who_may_closes_the_circuit(open_circuit, superuser):
    assert "No balance" in superuser.get(url(Circuit, "changelist")).content.decode()
    assert "The circuit is closed" in close(superuser).content.decode()
    open_circuit.refresh_from_db()
    assert open_circuit.opened_at is None
    assert "closed already" in close(superuser).content.decode()


@pytest.mark.parametrize("group", ["Dispatch", "Ops"])
def test_who_may_not_cannot_close_the_circuit(group, open_circuit):
    close(login(group))
    open_circuit.refresh_from_db()
    assert open_circuit.opened_at is not None


def test_replies_that_could_not_be_decided_are_shown_as_such(superuser):
    model = apps.get_model("bookings.InboundMessage")
    InboundMessageFactory.create(outcome="", reading="", rule="", matched="")
    InboundMessageFactory.create(outcome=Outcome.ERROR, msisdn="MTN", text="")
    html = superuser.get(url(model, "changelist")).content.decode()
    assert "not decided yet" in html
    assert "MTN" in html


# What people and machines type into addresses and forms

NINES = "9" * 30
NONSENSE = {
    "year 0": {"created_at__year": "0"},
    "year 9999": {"created_at__year": "9999"},
    "year 1": {"created_at__year": "1", "created_at__month": "1", "created_at__day": "1"},
    "year of six digits": {"created_at__year": "999999"},
    "year of thirty digits": {"created_at__year": NINES},
    "month 13": {"created_at__year": "2026", "created_at__month": "13"},
    "a day that is none": {"created_at__gte": "yesterday"},
    "thirty digits for a key": {"asked_by__id__exact": NINES},
    "thirty digits in a list of keys": {"asked_by__id__in": NINES},
    "a word for a key": {"asked_by__id__exact": "abc"},
    "NUL for a state": {"state": "\0"},
    "NUL for an exact state": {"state__exact": "\0"},
    "NUL in a search": {"q": "a\0b"},
    "1,200 words": {"q": "word " * 1200},
    "201 characters": {"q": "x" * 201},
    "page of thirty digits": {"p": NINES},
    "order that is none": {"o": NINES},
}


@pytest.mark.parametrize("asked", NONSENSE.values(), ids=NONSENSE)
def test_a_list_asked_for_nonsense_shows_itself_whole(asked, superuser):
    NotificationFactory.create_batch(2)
    page = superuser.get(url(Notification, "changelist"), asked, follow=True)
    assert page.status_code == 200
    if page.redirect_chain:
        assert page.redirect_chain == [(f"{url(Notification, 'changelist')}?e=1", 302)]
        assert len(page.context["cl"].result_list) == 2


@pytest.mark.parametrize("model", [*OURS, *STAFF], ids=name_of)
def test_no_list_breaks_at_a_search(model, superuser):
    make_story()
    address = url(model, "changelist")
    assert superuser.get(address, NONSENSE["NUL in a search"]).status_code == 200
    assert superuser.get(address, NONSENSE["1,200 words"]).url == f"{address}?e=1"


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_the_longest_search_that_is_taken_is_answered(model, superuser):
    make_story()
    assert superuser.get(url(model, "changelist"), {"q": "a " * 99 + "a"}).status_code == 200


@pytest.mark.parametrize("key", ["abc", NINES, "9" * 19, "", "\0"])
def test_an_action_on_no_row_does_nothing(key, dispatcher):
    booking = BookingFactory.create()
    act = {"action": "notify_customers", "_selected_action": [str(booking.pk), key]}
    response = dispatcher.post(url(Booking, "changelist"), act)
    assert (response.status_code, response.url) == (302, f"{url(Booking, 'changelist')}?e=1")


@pytest.mark.parametrize("key", ["abc", NINES, "9" * 19, "", "\0"])
def test_a_confirmation_for_no_booking_texts_nobody(key, dispatcher):
    booking = BookingFactory.create()
    fields = {"bookings": f"{booking.pk},{key}"}
    assert (
        "1 customer will be texted"
        in dispatcher.post(url(Booking, "notify"), fields).content.decode()
    )
    assert (
        "0 customers will be texted"
        in dispatcher.post(url(Booking, "notify"), {"bookings": key}).content.decode()
    )

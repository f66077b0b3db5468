"""One booking in the admin: why it is where it is, and what staff change."""

import re

import pytest

from bookings.dispatch import bookings as dispatch
from bookings.models import (
    Booking,
    BookingState,
    InboundMessage,
    Kind,
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
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SlotFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import OURS, form_of, make_story, name_of, new_booking, save, url

pytestmark = pytest.mark.django_db


def test_booking_page_says_why_the_parcel_moved(dispatcher):
    make_story()
    booking = Booking.objects.get()
    html = dispatcher.get(url(Booking, "change", booking.pk)).content.decode()
    why = html[html.index("Current slot:") : html.index("Timeline")]
    assert f"Moved to {booking.slot}" in why
    assert why.rindex("2 please") > why.rindex("Moved to")


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
    assert "Phone number changed from +44 •••••• 0001 to +44 •••••• 0002" in html


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


def test_saving_notes_changes_nothing_else(dispatcher):
    notification = NotificationFactory.create()
    save(dispatcher, notification.booking, notes="Ring twice")
    notification.refresh_from_db()
    assert notification.booking.notes == "Ring twice"
    assert notification.state == NotificationState.OPEN
    assert not SlotChange.objects.exists()


@pytest.mark.parametrize(("capacity", "sentence"), [(0, "Slot closed"), (1, "Slot full")])
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
    [("", "12025550143"), ("+49 151 23456789", "4915123456789")],
    ids=["left empty", "a new German number"],
)
def test_a_booking_keeps_or_gets_a_number_of_another_country(typed, stored, dispatcher):
    booking = BookingFactory.create(msisdn="12025550143")
    page = dispatcher.get(url(Booking, "change", booking.pk))
    assert page.context["adminform"].form["msisdn"].value() == ""
    assert "+1 •••••• 0143" in page.content.decode()

    assert save(dispatcher, booking, msisdn=typed, notes="Ring twice").status_code == 302

    booking.refresh_from_db()
    assert (booking.msisdn, booking.notes) == (stored, "Ring twice")


UNTOLD = "The customer was not told: call +44 •••••• 0001"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"slot": "later"}, f"{UNTOLD} or notify again."),
        ({"cancelled": "on"}, f"{UNTOLD}."),
        (
            {"msisdn": "07700 900 002"},
            "The customer was not told: call +44 •••••• 0002 or notify again.",
        ),
        ({"notes": "Ring twice"}, None),
    ],
    ids=["moved", "cancelled", "phone changed", "notes"],
)
@pytest.mark.parametrize("knows", ["asked", "wrote", "nothing"])
def test_booking_page_says_that_an_informed_customer_was_not_told(
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
    said = re.findall(r"The customer was not told[^<]*?\.", html)
    assert said == ([] if knows == "nothing" or sentence is None else [sentence])


def test_a_new_booking_is_in_english_unless_another_language_is_chosen(dispatcher):
    page = dispatcher.get(url(Booking, "add")).text
    assert '<option value="en" selected>' in page


def test_the_language_is_one_that_there_are_texts_in(dispatcher):
    slot = SlotFactory.create()
    page = dispatcher.post(url(Booking, "add"), new_booking(slot, language="xx"))
    assert "Select a valid choice" in errors(page)
    assert page.context["adminform"].form.fields["language"].choices == [
        *(("de", "German"), ("en", "English"), ("es", "Spanish"), ("fr", "French")),
        *(("nl", "Dutch"), ("pl", "Polish")),
    ]


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
def test_invalid_booking_is_refused(fields, sentence, dispatcher):
    BookingFactory.create(reference="TAKEN")
    slot = SlotFactory.create(capacity=5)
    assert sentence in errors(dispatcher.post(url(Booking, "add"), new_booking(slot, **fields)))
    assert Booking.objects.count() == 1


def test_a_booking_for_a_full_slot_is_refused(dispatcher):
    slot = SlotFactory.create(date=in_days(9), capacity=1)
    BookingFactory.create(slot=slot)
    response = dispatcher.post(url(Booking, "add"), new_booking(slot))
    assert "Slot full" in errors(response)
    assert not Booking.objects.filter(reference="NEW-1").exists()


def test_the_page_of_a_slot_says_when_it_is_as_every_page_does(dispatcher):
    slot = SlotFactory.create(date="2026-12-01", window_start="09:00", window_end="12:00")
    page = dispatcher.get(url(Slot, "change", slot.pk)).text
    assert "Tue 1 Dec 2026" in page
    assert "09:00-12:00" in page
    assert "noon" not in page


def test_the_page_of_a_text_says_in_words_where_it_stands(superuser):
    message = OutboundMessageFactory.create(state="unknown")
    page = superuser.get(url(OutboundMessage, "change", message.pk)).text
    assert "outcome unknown" in page
    assert "(&#x27;unknown" not in page


def test_only_the_capacity_of_a_slot_can_change(dispatcher):
    slot = SlotFactory.create(capacity=5)
    fields = {"date": "2030-01-01", "place": Place.POST_OFFICE, "capacity": 7}
    assert dispatcher.post(url(Slot, "change", slot.pk), fields).status_code == 302
    date = slot.date
    slot.refresh_from_db()
    assert (slot.capacity, slot.date, slot.place) == (7, date, Place.DOOR)


def test_an_empty_capacity_is_no_limit_but_one_that_was_not_sent_changes_nothing(dispatcher):
    slot = SlotFactory.create(capacity=5)
    assert "Enter a capacity" in errors(dispatcher.post(url(Slot, "change", slot.pk), {}))
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


def test_the_page_of_the_last_part_shows_the_whole_of_a_long_text(dispatcher):
    inbound = InboundMessageFactory.create(
        text="on Thursday", whole="Could it come on Thursday", part_number=2, part_total=2
    )
    page = dispatcher.get(url(InboundMessage, "change", inbound.pk)).content.decode()
    assert "Could it come" in page


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


def test_a_page_that_was_open_undoes_no_notes_and_no_language(dispatcher):
    booking = BookingFactory.create(notes="", language="en")
    stale = form_of(booking, slot=SlotFactory.create(date=in_days(7)).pk)
    save(dispatcher, booking, notes="Gate code 12", language="pl")
    assert "changed while you had it open" in errors(
        dispatcher.post(url(Booking, "change", booking.pk), stale)
    )
    booking.refresh_from_db()
    assert (booking.notes, booking.language) == ("Gate code 12", "pl")


def test_a_page_that_is_saved_by_a_double_click_is_saved(dispatcher):
    booking = BookingFactory.create()
    fields = form_of(booking, notes="Gate code 12", slot=SlotFactory.create(date=in_days(7)).pk)
    for _ in range(2):
        response = dispatcher.post(url(Booking, "change", booking.pk), fields)
        assert response.status_code == 302
    assert booking.slot_changes.count() == 1


@pytest.mark.parametrize("told", ["sms", "phone", "nobody"])
def test_change_by_a_colleague_is_not_taken_for_a_double_click(told, dispatcher):
    booking = BookingFactory.create()
    fields = form_of(booking, cancelled="on", told=told)
    dispatch.cancel(booking, user=UserFactory.create())
    response = dispatcher.post(url(Booking, "change", booking.pk), fields)
    assert "changed while you had it open: it is now cancelled" in errors(response)


@pytest.mark.parametrize("change", ["slot", "cancelled"])
@pytest.mark.parametrize("told", ["sms", "phone", "ask"])
def test_resubmitted_form_with_another_way_of_telling_is_refused(told, change, dispatcher):
    """The same page once more, with another way of telling."""
    booking = NotificationFactory.create().booking
    changes: dict[str, dict] = {
        "slot": {"slot": SlotFactory.create(date=in_days(6)).pk},
        "cancelled": {"cancelled": "on"},
    }
    silently, aloud = (form_of(booking, told=how, **changes[change]) for how in ("nobody", told))
    assert dispatcher.post(url(Booking, "change", booking.pk), silently).status_code == 302
    response = dispatcher.post(url(Booking, "change", booking.pk), aloud)
    assert "changed while you had it open" in errors(response)


def test_resubmitted_reinstatement_with_a_text_is_refused(dispatcher):
    """They were told of the move before it was cancelled."""
    booking = BookingFactory.create()
    save(dispatcher, booking, slot=SlotFactory.create(date=in_days(6)).pk, told="sms")
    booking.refresh_from_db()
    save(dispatcher, booking, cancelled="on", told="nobody")
    booking.refresh_from_db()
    silently, aloud = (form_of(booking, told=how) for how in ("nobody", "sms"))
    for form in (silently, aloud):
        del form["cancelled"]
    assert dispatcher.post(url(Booking, "change", booking.pk), silently).status_code == 302
    response = dispatcher.post(url(Booking, "change", booking.pk), aloud)
    assert "changed while you had it open" in errors(response)


@pytest.mark.parametrize("told", ["phone", "ask"])
def test_a_move_that_is_told_otherwise_is_saved_by_a_double_click(told, dispatcher):
    booking = BookingFactory.create()
    fields = form_of(booking, told=told, slot=SlotFactory.create(date=in_days(7)).pk)
    for _ in range(2):
        response = dispatcher.post(url(Booking, "change", booking.pk), fields)
        assert response.status_code == 302
    assert booking.slot_changes.count() == 1


def test_form_without_its_shown_state_is_refused(dispatcher):
    booking = BookingFactory.create()
    assert "changed while you had it open" in errors(save(dispatcher, booking, seen=""))


@pytest.mark.parametrize("change", ["slot", "phone", "cancelled"])
def test_each_change_that_is_saved_by_a_double_click_is_made_and_told_once(change, dispatcher):
    booking = BookingFactory.create()
    changes: dict[str, dict] = {
        "slot": {"slot": SlotFactory.create(date=in_days(7)).pk},
        "phone": {"msisdn": "07700 900555"},
        "cancelled": {"cancelled": "on"},
    }
    fields = form_of(booking, told="sms", **changes[change])
    for _ in range(2):
        response = dispatcher.post(url(Booking, "change", booking.pk), fields)
        assert response.status_code == 302
    assert OutboundMessage.objects.get().kind == Kind.TOLD


def test_a_slot_cannot_be_made_to_hold_fewer_than_are_in_it_but_it_can_be_closed(dispatcher):
    slot = SlotFactory.create(capacity=5)
    BookingFactory.create_batch(2, slot=slot)
    address = url(Slot, "change", slot.pk)
    assert "2 deliveries are booked" in errors(dispatcher.post(address, {"capacity": "1"}))
    for capacity in ("2", "0"):
        assert dispatcher.post(address, {"capacity": capacity}).status_code == 302
    slot.refresh_from_db()
    assert slot.capacity == 0

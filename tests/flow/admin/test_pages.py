"""The admin: every page opens for whom it should, and nobody changes history."""

from typing import TYPE_CHECKING, cast

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from bookings.admin.shared.navigation import navigation
from bookings.dispatch import ticket_actions
from bookings.models import ActKind, Batch, Booking, Circuit, Notification, Outcome, Slot, StaffAct
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    TicketFactory,
    UserFactory,
)
from tests.flow.admin.pages import (
    EVERYONE,
    HISTORY,
    OURS,
    STAFF,
    choose,
    form_of,
    login,
    make_story,
    may_view,
    name_of,
    new_booking,
    url,
)

if TYPE_CHECKING:
    from bookings.admin.shared.model_admins import KeptAdmin

pytestmark = pytest.mark.django_db


# Every page opens


@pytest.mark.parametrize("group", EVERYONE)
def test_lists_and_rows_open_for_the_permitted_groups(group):
    make_story(2)
    staff = login(group)
    for model in OURS:
        pages = [url(model, "changelist")]
        for row in model.objects.all():
            pages += [url(model, "change", row.pk), url(model, "history", row.pk)]
        status = 200 if may_view(group, model) else 403
        assert {page: staff.get(page).status_code for page in pages} == dict.fromkeys(pages, status)


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_an_empty_list_says_what_to_do(model, superuser):
    says = cast("KeptAdmin", admin.site._registry[model]).empty_says
    assert says
    assert escape(says) in superuser.get(url(model, "changelist")).content.decode()


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


def test_accounts_without_staff_status_are_refused():
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


def test_ops_change_no_booking_and_no_slot():
    make_story()
    ops = login("Ops")
    booking, slot = Booking.objects.get(), Slot.objects.first()
    assert slot is not None
    models = [model for model in OURS if model not in {StaffAct, Circuit}]
    stored = [list(model.objects.values()) for model in models]
    assert (
        ops.post(url(Booking, "change", booking.pk), form_of(booking, cancelled="on")).status_code
        == 403
    )
    assert ops.post(url(Slot, "change", slot.pk), {"capacity": 0}).status_code == 403
    assert ops.post(url(Booking, "add"), new_booking(slot)).status_code == 403
    assert ops.post(url(Batch, "add"), {"bookings": booking.pk}).status_code == 403
    choose(ops, [booking])
    assert [list(model.objects.values()) for model in models] == stored


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


# The sidebar


def links(group: str) -> dict[str, str]:
    """What this group sees in the sidebar."""
    request = RequestFactory().get("/admin/")
    request.user = login(group).get("/admin/").wsgi_request.user
    shown = [item for heading in navigation(request) for item in heading["items"]]
    return {item["title"]: item["link"] for item in shown if item["permission"](request)}


def test_sidebar_lists_only_permitted_pages():
    everything, dispatch, ops = links("superuser"), links("Dispatch"), links("Ops")
    evidence = {"Delivery receipts", "Activity log", "Sending"}
    assert set(everything) - set(dispatch) == {"Users", "Groups", *evidence}
    assert set(everything) - set(ops) == {"Users", "Groups", "Notify a customer"}
    assert ops == links("Auditor")
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
    assert [badge for badge in badges if badge] == ["paused"]


def badge_of_the_queue(user) -> tuple[str, int]:
    """What stands beside Needs attention for somebody, and how many queries that took."""
    request = RequestFactory().get("/admin/")
    request.user = user
    with CaptureQueriesContext(connection) as queries:
        shown = [item for heading in navigation(request) for item in heading["items"]]
    asked = [query for query in queries if "bookings_ticket" in query["sql"]]
    (item,) = [item for item in shown if item["title"] == "Needs attention"]
    return item.get("badge", ""), len(asked)


def test_every_page_shows_the_count_of_open_tickets(admin_user):
    assert badge_of_the_queue(admin_user) == ("", 1)
    waiting = TicketFactory.create_batch(3)
    assert badge_of_the_queue(admin_user) == ("3", 1)
    ticket_actions.set_aside(waiting[0], admin_user)
    assert badge_of_the_queue(admin_user) == ("2", 1)
    TicketFactory.create_batch(98)
    assert badge_of_the_queue(admin_user) == ("99+", 1)


def test_user_without_ticket_permission_sees_no_count():
    TicketFactory.create()
    assert badge_of_the_queue(UserFactory.create()) == ("", 0)


# The circuit


@pytest.fixture
def open_circuit() -> Circuit:
    return Circuit.objects.create(pk=1, opened_at=timezone.now(), reason="No balance")


def close(client: Client):
    act = {"action": "close_circuit", "_selected_action": [1]}
    return client.post(url(Circuit, "changelist"), act, follow=True)


@pytest.mark.parametrize("group", ["superuser", "Ops"])
def test_user_with_permission_closes_the_circuit_and_is_recorded(group, open_circuit):
    client = login(group)
    assert "No balance" in client.get(url(Circuit, "changelist")).content.decode()
    assert "Sending resumed" in close(client).content.decode()
    open_circuit.refresh_from_db()
    assert open_circuit.opened_at is None
    assert "already on" in close(client).content.decode()
    act = StaffAct.objects.get()
    assert (act.kind, act.details) == (ActKind.CLOSED_CIRCUIT, "No balance")


@pytest.mark.parametrize("group", ["Dispatch", "Auditor"])
def test_user_without_permission_cannot_close_the_circuit(group, open_circuit):
    close(login(group))
    open_circuit.refresh_from_db()
    assert open_circuit.opened_at is not None


def test_replies_that_could_not_be_decided_are_shown_as_such(superuser):
    model = apps.get_model("bookings.InboundMessage")
    InboundMessageFactory.create(outcome="", reading="", rule="", matched="")
    InboundMessageFactory.create(outcome=Outcome.ERROR, msisdn="MTN", text="")
    html = superuser.get(url(model, "changelist")).content.decode()
    assert "not processed yet" in html
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
def test_list_with_invalid_query_shows_all_rows(asked, superuser):
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
def test_confirmation_without_bookings_sends_no_text(key, dispatcher):
    booking = BookingFactory.create()
    fields = {"bookings": f"{booking.pk},{key}"}
    assert (
        "1 customer will be texted" in dispatcher.post(url(Batch, "add"), fields).content.decode()
    )
    page = dispatcher.post(url(Batch, "add"), {"bookings": key}, follow=True)
    assert "Select bookings first" in page.content.decode()

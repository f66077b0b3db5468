"""What ops do about texts: held ones are released or cancelled, and the rule is run again where it failed."""

import re

import pytest
from django.test import Client

from bookings.admin.shared import confirmation
from bookings.models import (
    ActKind,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Outcome,
    StaffAct,
)
from tests.factories import InboundMessageFactory, NotificationFactory, OutboundMessageFactory
from tests.flow.admin.pages import login, url

pytestmark = pytest.mark.django_db

CONFIRMED = {"confirmed": "yes", "seen": "0"}  # nobody has mended anything before


def act(client: Client, action: str, rows, **more):
    model = type(rows[0])
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url(model, "changelist"), chosen | more)


def said(client: Client, response) -> str:
    return client.get(response.url).content.decode()


@pytest.fixture
def held() -> list[OutboundMessage]:
    return [OutboundMessageFactory.create(is_held=True) for _ in range(2)]


@pytest.fixture
def failed() -> InboundMessage:
    """A valid choice on which the rule failed."""
    notification = NotificationFactory.create(booking__msisdn="447700900123")
    return InboundMessageFactory.create(
        msisdn="447700900123", text="2", outcome=Outcome.ERROR, booking=notification.booking
    )


def test_held_texts_are_found_by_a_filter(held, ops):
    OutboundMessageFactory.create()
    page = ops.get(url(OutboundMessage, "changelist"), {"trouble": "held"})
    assert set(page.context["cl"].result_list) == set(held)


def test_held_texts_are_released_once_it_is_confirmed(held, ops):
    asked = act(ops, "release_held", held).content.decode()
    assert "<h2>Send these messages?</h2>" in asked
    assert held[0].text in asked
    assert OutboundMessage.objects.filter(is_held=True).count() == 2
    assert not StaffAct.objects.exists()

    page = act(ops, "release_held", held, **CONFIRMED)

    assert "Released: 2." in said(ops, page)
    assert not OutboundMessage.objects.filter(is_held=True).exists()
    record = StaffAct.objects.get()
    assert record.kind == ActKind.RELEASED
    assert record.details == f"messages {held[0].pk}, {held[1].pk}"


def test_held_texts_are_cancelled_once_it_is_confirmed(held, ops):
    act(ops, "drop_held", held)
    assert OutboundMessage.objects.queued().count() == 2
    page = act(ops, "drop_held", held, **CONFIRMED)
    assert "Cancelled: 2." in said(ops, page)
    assert {row.state for row in OutboundMessage.objects.all()} == {MessageState.CANCELLED}
    assert StaffAct.objects.get().kind == ActKind.DROPPED


def test_confirmation_page_has_the_fields_to_confirm(held, ops):
    page = act(ops, "release_held", held).content.decode()
    form = page[page.index('class="confirm"') :]
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    again = {name: [value for key, value in fields if key == name] for name, _ in fields}
    assert again["confirmed"] == ["yes"]
    ops.post(url(OutboundMessage, "changelist"), again)
    assert not OutboundMessage.objects.filter(is_held=True).exists()


@pytest.mark.parametrize("action", ["release_held", "drop_held"])
def test_a_page_that_is_sent_again_when_the_texts_are_held_again_asks_once_more(action, held, ops):
    act(ops, "release_held", held, **CONFIRMED)
    OutboundMessage.objects.update(is_held=True)

    page = act(ops, action, held, **CONFIRMED).content.decode()

    assert "Nothing was changed: this page was already submitted" in page
    assert OutboundMessage.objects.filter(is_held=True).count() == 2
    (seen,) = re.findall(r'name="seen" value="(\d+)"', page)
    act(ops, action, held, confirmed="yes", seen=seen)
    assert not OutboundMessage.objects.filter(is_held=True).exists()


@pytest.mark.parametrize("action", ["release_held", "drop_held"])
def test_a_text_that_is_not_held_is_left_alone(action, ops):
    message = OutboundMessageFactory.create()
    page = act(ops, action, [message], **CONFIRMED)
    assert "does not apply to the selected rows" in said(ops, page)
    message.refresh_from_db()
    assert message.state == MessageState.QUEUED
    assert not StaffAct.objects.exists()


def test_the_rule_is_run_again_over_a_text_on_which_it_failed(failed, ops):
    assert "Process again" in act(ops, "run_again", [failed]).content.decode()
    failed.refresh_from_db()
    assert failed.outcome == Outcome.ERROR

    page = act(ops, "run_again", [failed], **CONFIRMED)

    assert f"Message {failed.pk}: moved" in said(ops, page)
    failed.refresh_from_db()
    assert failed.outcome == Outcome.MOVED
    record = StaffAct.objects.get()
    assert (record.kind, record.details) == (ActKind.REPLAYED, f"messages {failed.pk}")


def test_a_text_that_was_dealt_with_is_not_run_again(ops):
    inbound = InboundMessageFactory.create(outcome=Outcome.MOVED)
    page = act(ops, "run_again", [inbound], **CONFIRMED)
    assert "does not apply to the selected rows" in said(ops, page)
    assert not StaffAct.objects.exists()


def test_too_many_rows_at_once_are_refused_in_a_sentence(held, ops, monkeypatch):
    assert confirmation.MOST_AT_ONCE == 200
    monkeypatch.setattr(confirmation, "MOST_AT_ONCE", 1)
    for more in ({}, CONFIRMED):
        page = act(ops, "release_held", held, **more)
        assert "select at most 1 rows" in said(ops, page)
    assert OutboundMessage.objects.filter(is_held=True).count() == 2


@pytest.mark.parametrize("group", ["Dispatch", "Auditor"])
def test_user_without_permission_changes_no_text(group, held, failed):
    client = login(group)
    for action in ("release_held", "drop_held"):
        act(client, action, held, **CONFIRMED)
    act(client, "run_again", [failed], **CONFIRMED)
    assert OutboundMessage.objects.filter(is_held=True).count() == 2
    failed.refresh_from_db()
    assert failed.outcome == Outcome.ERROR
    assert not StaffAct.objects.exists()


def test_release_and_replay_need_a_csrf_token(held, ops):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ops.cookies
    assert act(strict, "release_held", held, **CONFIRMED).status_code == 403
    assert OutboundMessage.objects.filter(is_held=True).count() == 2


def test_release_of_many_texts_records_each(ops):
    held = OutboundMessageFactory.create_batch(45, is_held=True)
    act(ops, "release_held", held, **CONFIRMED)
    details = StaffAct.objects.order_by("pk").values_list("details", flat=True)
    named = ", ".join(words.removeprefix("messages ") for words in details)
    assert named == ", ".join(str(message.pk) for message in held)


def test_confirmation_names_the_chosen_action(held, ops):
    """A hand-made form can name two acts; Django does the one that `index` points to."""
    chosen = {"_selected_action": [held[0].pk], "index": 0}
    page = ops.post(
        url(OutboundMessage, "changelist"), chosen | {"action": ["release_held", "drop_held"]}
    ).content.decode()
    assert "<h2>Send these messages?</h2>" in page
    assert 'value="release_held"' in page
    assert 'value="drop_held"' not in page.split("<h2>")[1].partition("</form>")[0]

"""Try a reply: how texts would be read and what would come of them, and nothing happens."""

from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from bookings.models import Booking, InboundMessage
from bookings.replies.parser import Choice, NotUnderstood, parse_reply
from tests.factories import BookingFactory, InboundMessageFactory, NotificationFactory
from tests.flow.admin.pages import url
from tests.unit.test_replies import CHOICES, CONSENT, POLITENESS, REFUSALS

pytestmark = pytest.mark.django_db


def attempt(client: Client, *texts: str, **fields: str) -> list[Any]:
    pasted = {"texts": "\n".join(texts), "language": "en"} | fields
    response = client.post(url(InboundMessage, "try"), pasted)
    assert response.status_code == 200
    assert response.context["form"].errors == {}
    tried: list[Any] = response.context["tried"]
    return tried


def refused(client: Client, **fields: str) -> str:
    response = client.post(url(InboundMessage, "try"), {"language": "en"} | fields)
    assert response.context["tried"] == []
    return str(response.context["form"].errors)


def pasteable() -> list[str]:
    """What customers write, as far as it stands on one line."""
    texts = [*CHOICES, *REFUSALS, *POLITENESS, *CONSENT]
    return [
        text for text in texts if text.strip() and text.splitlines() == [text] and _is_text(text)
    ]


def _is_text(text: str) -> bool:
    """Whether a browser can send it: no NUL, no half of a character."""
    return "\0" not in text and text == text.encode(errors="ignore").decode()


def test_f3_200_replies_show_the_option_the_refusal_and_the_reason_and_none_moves_wrongly(ops):
    texts = pasteable()[:200]
    assert len(texts) == 200
    response = ops.post(url(InboundMessage, "try"), {"texts": "\n".join(texts), "language": "en"})
    tried = response.context["tried"]
    assert [one.text.strip() for one in tried] == [text.strip() for text in texts]
    specified = CHOICES | REFUSALS | POLITENESS | CONSENT
    moved = 0
    for one in tried:
        meant = specified.get(one.text, None) or parse_reply(one.text)
        assert one.why.endswith((".", "?"))
        assert one.rule
        if isinstance(meant, Choice) and meant.number in {2, 3} and meant.words is None:
            assert one.outcome == "moved", one
            assert one.stands_for.startswith(f"{meant.number} = ")
        elif one.outcome == "moved":
            assert isinstance(meant, Choice), one
            assert one.stands_for.startswith(f"{meant.number} = ")
        if isinstance(meant, NotUnderstood):
            assert one.outcome == "not_understood", one
        moved += one.outcome == "moved"
    assert moved > 20
    page = response.content.decode()
    assert f"200 replies tested, {moved} would move the delivery" in page


def test_tried_text_shows_option_rule_and_effect(ops):
    keep, move, unsure, stop = attempt(ops, "1", "2 please", "1 or 2", "STOP")
    assert (keep.reading, keep.outcome) == ("Choice 1", "kept")
    assert (move.reading, move.rule, move.matched, move.outcome) == (
        "Choice 2",
        "digit",
        "2",
        "moved",
    )
    assert move.why.startswith("Moves the delivery to ")
    assert (unsure.reading, unsure.rule) == ("Not understood", "several numbers")
    assert unsure.why == ("It contains several numbers. No change. Sends the options again.")
    assert (stop.reading, stop.outcome) == ("Opt out", "opted_out")


def test_texts_are_tried_against_a_customers_notification(ops):
    notification = NotificationFactory.create(booking__reference="812")
    slot = notification.options.get(digit=2).slot
    BookingFactory.create(slot=slot)
    type(slot).objects.filter(pk=slot.pk).update(capacity=1)
    full, move, none = attempt(ops, "2", "post office", "7", reference=" 812 ")
    assert (full.outcome, full.why) == ("full", f"No change: {slot} is full.")
    assert (move.outcome, move.reading) == ("moved", "Words “post office”")
    assert none.why.startswith("No option of this notification has the number 7.")


def test_trying_stores_nothing_and_sends_nothing(ops):
    notification = NotificationFactory.create(booking__reference="812")
    models = list(apps.get_app_config("bookings").get_models())
    before = {model: model._default_manager.count() for model in models}
    slot = Booking.objects.get().slot
    attempt(ops, *pasteable()[:100], reference="812")
    attempt(ops, *pasteable()[:100])
    assert {model: model._default_manager.count() for model in models} == before
    assert Booking.objects.get().slot == slot
    notification.refresh_from_db()
    assert notification.state == "open"


def test_one_text_may_have_line_breaks(ops):
    (one,) = attempt(ops, "2", "", "thanks", is_one="on")
    assert (one.text.split(), one.outcome) == (["2", "thanks"], "moved")


def test_too_many_texts_and_unknown_bookings_are_refused_in_a_sentence_and_stay_in_the_form(ops):
    many = "\n".join(["2"] * 501)
    assert "501 replies; at most 500" in refused(ops, texts=many)
    assert "Booking not found." in refused(ops, texts="2", reference="nope")
    BookingFactory.create(reference="NEW")
    assert "has no notification yet" in refused(ops, texts="2", reference="NEW")
    page = ops.post(url(InboundMessage, "try"), {"texts": "keep me", "reference": "nope"})
    assert "keep me" in page.content.decode()


def test_five_hundred_texts_take_as_many_queries_as_five(ops, django_assert_max_num_queries):
    NotificationFactory.create(booking__reference="812")
    texts = ["1", "2", "3", "post office", "hello"]
    with django_assert_max_num_queries(60) as few:
        attempt(ops, *texts, reference="812")
    with django_assert_max_num_queries(len(few)):
        assert len(attempt(ops, *texts * 100, reference="812")) == 500


def test_a_recorded_reply_can_be_tried_again(ops):
    inbound = InboundMessageFactory.create(
        notification=NotificationFactory.create(booking__reference="812"), text="2 or\n3?"
    )
    address = f"{url(InboundMessage, 'try')}?message={inbound.pk}"
    assert (
        f'href="{address}"' in ops.get(url(InboundMessage, "change", inbound.pk)).content.decode()
    )
    form = ops.get(address).context["form"]
    assert form.initial == {
        "texts": "2 or\n3?",
        "is_one": True,
        "reference": "812",
        "language": "en",
    }
    for nobody in ("0", "x", "9" * 40):
        assert (
            ops.get(f"{url(InboundMessage, 'try')}?message={nobody}").context["form"].initial == {}
        )


def test_pasted_markup_is_shown_and_never_run(ops):
    nasty = "<script>alert(1)</script>\u202e2"
    page = ops.post(url(InboundMessage, "try"), {"texts": nasty, "language": "en"}).content.decode()
    assert "<script>alert(1)" not in page
    assert '<bdi class="sms">&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]2</bdi>' in page

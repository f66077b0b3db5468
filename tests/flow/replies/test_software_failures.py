"""Failures of our rule or database: the reply is kept for a replay, or Vonage is asked to resend it."""

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client

from bookings.gateways.signature import sign
from bookings.models import InboundMessage, Outcome, Settlement
from bookings.replies import context, effects
from tests.factories import BookingFactory
from tests.flow.replies.conftest import slot_now
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def bug(monkeypatch):
    """Make the rule fail after the booking was moved."""

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(effects, "_say", broken)
    return monkeypatch


def test_a_bug_in_the_rule_keeps_the_message_for_a_replay(ask, reply, bug, caplog):
    booking = BookingFactory.create()
    notification = ask(booking)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.ERROR
    assert inbound.attention
    (alarm,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "see replay_inbound" in alarm.getMessage()
    assert "ZeroDivisionError" in caplog.text
    assert slot_now(booking) == notification.slot
    assert not booking.slot_changes.exists()
    bug.undo()
    call_command("replay_inbound", inbound.pk)
    inbound.refresh_from_db()
    assert inbound.outcome == Outcome.MOVED
    assert inbound.ticket.settlement == Settlement.OVERTAKEN
    assert slot_now(booking) == notification.options.get(digit=2).slot
    assert inbound.answers.count() == 1


def test_a_replay_does_not_undo_a_newer_answer(ask, reply, bug):
    booking = BookingFactory.create()
    notification = ask(booking)
    failed = reply(booking.msisdn, "2")
    bug.undo()
    reply(booking.msisdn, "3")
    call_command("replay_inbound", failed.pk)
    failed.refresh_from_db()
    assert failed.outcome == Outcome.CLOSED
    assert failed.attention
    assert not failed.answers.exists()
    assert slot_now(booking) == notification.options.get(digit=3).slot


def test_a_database_fault_in_the_rule_stores_nothing_and_asks_for_the_message_again(
    ask, signed, monkeypatch
):
    booking = BookingFactory.create()
    ask(booking)

    def away(*_args):
        raise OperationalError

    monkeypatch.setattr(context, "lock_customer", away)
    response = signed(booking.msisdn, "2")
    assert response.status_code == 503
    assert not InboundMessage.objects.exists()
    monkeypatch.undo()
    assert signed(booking.msisdn, "2").status_code == 200
    assert InboundMessage.objects.get().outcome == Outcome.MOVED


@pytest.fixture
def signed():
    def post(msisdn, text):
        fields = {"msisdn": msisdn, "to": VIRTUAL_NUMBER, "messageId": "0CBBBB", "text": text}
        fields["sig"] = sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")
        return Client().post("/webhooks/inbound-sms", fields, content_type="application/json")

    return post

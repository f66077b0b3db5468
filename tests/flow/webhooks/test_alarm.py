"""A burst of refused signatures raises one alarm, and no refusal puts a secret into the log."""

import functools
from datetime import timedelta

import pytest

from bookings.web.webhooks import alarm
from tests.flow.webhooks.conftest import BOTH, SECRET, TOKEN, signed

pytestmark = pytest.mark.django_db


def refuse(webhook, send, times, after=timedelta(minutes=1)):
    for _ in range(times):
        assert send(webhook, webhook.fields | {"sig": "0" * 64}, after=after).status_code == 401


def alarms(caplog):
    return [record for record in caplog.records if record.levelname == "ERROR"]


def test_burst_of_refused_signatures_raises_one_alarm(webhook, send, caplog):
    refuse(webhook, send, alarm.MOST)
    assert not alarms(caplog)
    refuse(webhook, send, 5)
    [record] = alarms(caplog)
    assert record.name == "bookings.web.webhooks.views"
    assert "rotated" in record.getMessage()
    assert "VONAGE_SIGNATURE_SECRETS" in record.getMessage()


def test_the_alarm_is_raised_again_after_ten_minutes_if_it_goes_on(webhook, send, caplog):
    minutes = functools.partial(timedelta, minutes=1)
    refuse(webhook, send, 30, after=minutes(seconds=0))
    refuse(webhook, send, 30, after=minutes(seconds=599))
    assert len(alarms(caplog)) == 1
    refuse(webhook, send, 1, after=minutes(seconds=600))
    assert len(alarms(caplog)) == 2


def test_so_many_refused_in_a_longer_time_are_no_alarm(webhook, send, caplog):
    for minute in range(30):
        refuse(webhook, send, 1, after=timedelta(minutes=minute, seconds=minute))
    assert not alarms(caplog)


def test_malformed_signed_requests_raise_no_alarm(webhook, send, caplog):
    for _ in range(20):
        assert send(webhook, signed({"timestamp": webhook.fields["timestamp"]})).status_code == 400
    assert not alarms(caplog)


def test_a_refusal_is_logged_once_without_token_number_or_text(webhook, send, configure, caplog):
    configure(**BOTH)
    fields = webhook.fields | {"text": "my secret words"}

    send(webhook, fields, token=TOKEN)

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "wrong signature" in record.getMessage()
    for private in (TOKEN, SECRET, fields["msisdn"], "secret words"):
        assert private not in caplog.text

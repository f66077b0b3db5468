"""The alarms raised for given facts, as a table."""

from datetime import timedelta as td

import pytest

from bookings.operations.alarms import ALARMS, AlarmFacts, raised_by

H, M = td(hours=1), td(minutes=1)
#: A day on which customers were asked and usually answer.
ASKED = {"daytime": 4 * H, "notifications": 20, "reply_rate": 0.4, "inbound_ago": 3 * H}

TABLE = [
    ({}, []),
    ({"is_circuit_open": True}, ["circuit_open"]),
    ({"is_refusing": True}, ["webhooks_refused"]),
    # Senders
    ({"sender_away": td(seconds=119)}, []),
    ({"sender_away": td(seconds=121)}, ["no_sender"]),
    ({"sender_away": None, "oldest_due": M}, []),
    ({"sender_away": None, "oldest_due": 3 * M}, ["no_sender"]),
    # Receipts
    ({"silent_texts": 9}, []),
    ({"silent_texts": 10}, ["no_receipts"]),
    # Replies
    (ASKED, ["no_replies"]),
    (ASKED | {"inbound_ago": None}, ["no_replies"]),
    (ASKED | {"inbound_ago": td(minutes=119)}, []),
    (ASKED | {"daytime": td(minutes=119)}, []),
    (ASKED | {"daytime": None}, []),
    (ASKED | {"notifications": 19}, []),
    (ASKED | {"reply_rate": None}, []),
    (ASKED | {"reply_rate": 0.0}, []),
    (ASKED | {"reply_rate": 1.0}, ["no_replies"]),
    # With one answer in twenty, twenty notifications without any are no wonder; two hundred are.
    (ASKED | {"reply_rate": 0.05}, []),
    (ASKED | {"reply_rate": 0.05, "notifications": 200}, ["no_replies"]),
    # The queue
    ({"sender_away": M, "oldest_due": 10 * M}, []),
    ({"sender_away": M, "oldest_due": 11 * M}, ["queue_ageing"]),
    ({"sender_away": M, "oldest_due": 11 * M, "is_circuit_open": True}, ["circuit_open"]),
    ({"sender_away": M, "oldest_due": 11 * M, "is_spending_stopped": True}, []),
    # Slow delivery
    ({"deliveries": 20, "slow": 2}, []),
    ({"deliveries": 20, "slow": 3}, ["slow_delivery"]),
    ({"deliveries": 19, "slow": 19}, []),
    ({"deliveries": 20, "slow": 20, "silent_texts": 10}, ["no_receipts"]),
]


@pytest.mark.parametrize(("facts", "expected"), TABLE, ids=[str(facts) for facts, _ in TABLE])
def test_facts_raise_the_expected_alarms(facts, expected):
    assert [alarm.name for alarm in raised_by(AlarmFacts(**facts))] == expected


def test_every_alarm_is_tested_and_says_what_to_do():
    assert {name for _, names in TABLE for name in names} == {alarm.name for alarm in ALARMS}
    for alarm in ALARMS:
        assert alarm.meaning.endswith(".")
        assert "Ops: " in alarm.todo

"""Which alarms ring, judged from counted facts alone: texts go out and nothing comes back, or nothing goes out.

Pure: `alarms.py` counts the facts, and whoever shows alarms asks there.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

#: So many texts without a receipt, and so long after the last of them: within ten minutes of the cut in all.
LEAST_TEXTS = 10
RECEIPT_WITHIN, RECEIPTS_OF = dt.timedelta(minutes=5), dt.timedelta(hours=1)
#: No reply for so long by day is silence if so many notifications went out meanwhile, over half an hour ago.
REPLY_WITHIN, REPLIES_OF = dt.timedelta(minutes=30), dt.timedelta(hours=2)
LEAST_NOTIFICATIONS = 20
#: Silence that comes about by chance less often than this is an alarm.
CHANCE = 0.01
QUEUED_WITHIN = dt.timedelta(minutes=10)
SENDER_WITHIN = dt.timedelta(minutes=2)
#: Delivery is slow if so large a share of the texts of a quarter of an hour took over five minutes.
SLOW_SHARE, SLOW_OF = 0.15, dt.timedelta(minutes=15)
LEAST_DELIVERIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was counted at one moment. Durations are None where there is nothing to measure."""

    is_circuit_open: bool = False
    is_spending_stopped: bool = False
    is_refusing: bool = False  # many webhook requests were refused lately
    sender_away: dt.timedelta | None = None  # since a sender was last seen; None: none ever was
    oldest_due: dt.timedelta | None = None  # for how long the oldest text could have been sent
    silent_texts: int = 0  # handed over since the last receipt, and old enough to have one
    daytime: dt.timedelta | None = None  # for how long it has been day; None: it is night
    inbound_ago: dt.timedelta | None = None  # since the last text of a customer
    notifications: int = 0  # handed over lately, and old enough to be answered
    reply_rate: float | None = None  # the usual share of notifications that are answered, 0 to 1
    deliveries: int = 0  # handed over in the last quarter of an hour that is over
    slow: int = 0  # of these, not delivered within five minutes


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that may be wrong: its name for machines, what it means, and what to do next."""

    name: str
    rings: Callable[[Facts], bool]
    meaning: str
    todo: str


def ringing(facts: Facts) -> list[Alarm]:
    """The alarms that these facts give cause for, the gravest first."""
    return [alarm for alarm in ALARMS if alarm.rings(facts)]


def _no_sender(facts: Facts) -> bool:
    if facts.sender_away is None:  # a new installation: an alarm once something waits
        return facts.oldest_due is not None and facts.oldest_due > SENDER_WITHIN
    return facts.sender_away > SENDER_WITHIN


def _no_receipts(facts: Facts) -> bool:
    return facts.silent_texts >= LEAST_TEXTS


def _no_replies(facts: Facts) -> bool:
    """Nobody has answered, though with the usual share of answers somebody would have."""
    if facts.daytime is None or facts.daytime < REPLIES_OF or not facts.reply_rate:
        return False
    if facts.inbound_ago is not None and facts.inbound_ago < REPLIES_OF:
        return False
    is_enough = facts.notifications >= LEAST_NOTIFICATIONS
    return is_enough and (1 - facts.reply_rate) ** facts.notifications < CHANCE


def _queue_ages(facts: Facts) -> bool:
    """Texts wait though nothing known holds them back."""
    if facts.is_circuit_open or facts.is_spending_stopped or facts.oldest_due is None:
        return False
    return facts.oldest_due > QUEUED_WITHIN


def _slow(facts: Facts) -> bool:
    if facts.deliveries < LEAST_DELIVERIES or _no_receipts(facts):
        return False
    return facts.slow / facts.deliveries >= SLOW_SHARE


ALARMS = (
    Alarm(
        "circuit_open",
        lambda facts: facts.is_circuit_open,
        "Sending is paused: the SMS provider refuses all our messages. Nothing is lost, messages wait.",
        "Ops: open Sending, read the reason, fix the cause and resume sending."
        " Dispatch: call today's customers.",
    ),
    Alarm(
        "no_sender",
        _no_sender,
        "Nothing is being sent: no sending process has been seen for over two minutes.",
        "Ops: start the sender (manage.py run_outbox) and read its log. Messages wait until it runs.",
    ),
    Alarm(
        "webhooks_refused",
        lambda facts: facts.is_refusing,
        "Many messages to our webhooks were refused because their signature or token is wrong:"
        " customers' replies may be among them.",
        "Ops: compare the signature secret and method at Vonage with our settings. Replies that"
        " were refused are sent again for 24 hours.",
    ),
    Alarm(
        "no_receipts",
        _no_receipts,
        "Messages are sent, but no delivery receipts arrive: replies may not reach us either.",
        "Ops: check that our webhook addresses can be reached from outside, and that they are the"
        " ones set at Vonage. What was missed is sent again once they can be.",
    ),
    Alarm(
        "no_replies",
        _no_replies,
        "Customers were notified, but no reply has arrived for two hours. That is unusual.",
        "Ops: text our number from a phone of your own. If it does not appear under Inbound"
        " messages, check the number's webhook at Vonage.",
    ),
    Alarm(
        "queue_ageing",
        _queue_ages,
        "Messages have been queued for over ten minutes for no known reason.",
        "Ops: see whether the sender keeps up, in its log and the state below; start more senders"
        " or raise the rate. Dispatch: expect delays.",
    ),
    Alarm(
        "slow_delivery",
        _slow,
        "Messages arrive slowly: many took over five minutes to reach the phone.",
        "Ops: look at Vonage's status page. Dispatch: call customers whose delivery is within the hour.",
    ),
)

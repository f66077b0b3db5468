"""Campaign `race`: eight threads act at the same instant, again and again.

One fact must have one effect: one move, one place, one notification, one claim; and no lock errors. Sizes are rounds.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

from tests.campaigns.race.race_round import THREADS, RaceRound, SimultaneousCalls
from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report

FULL, SMALL = 500, 8

_MOST_ROUNDS_WITH_BUG = 40  # within which a seeded bug must be found


def run(environment: Environment, size: int, report: Report) -> None:
    """Play `size` rounds, then further rounds with each seeded bug until they find it."""
    from bookings.web.webhooks import deadline

    logging.getLogger("bookings").setLevel(logging.ERROR)
    # Eight threads of one process wait for one another: no webhook may run out of time on a busy machine.
    deadline.CUT_AFTER = deadline.LAST_TURN = 60.0
    user, sessions = _staff()
    with closing(SimultaneousCalls()) as simultaneous:

        def play(number: int) -> list[str]:
            round_ = RaceRound(number, simultaneous, sessions, user)
            round_.run()
            return round_.faults

        for number in range(size):
            report.tried(f"rounds of {THREADS} threads, four instants each")
            for fault in play(number):
                report.found(f"round {number}: {fault}")
        _report_outcomes(report)
        for line in environment.contradictions():
            report.found(line)
        bugs = {
            **_BUGS,
            **(_BUGS_ON_POSTGRES if environment.kind == "postgres" else _BUGS_ON_SQLITE),
        }
        first = size
        for name, bug in bugs.items():
            first = _run_with_bug(name, bug, play, first, report)


def _staff() -> tuple[Any, list[Any]]:
    """Return a dispatcher, and three clients that share one session, as browser tabs do."""
    from django.contrib.auth.models import User
    from django.test import Client

    user = User.objects.create_superuser("dispatcher")
    tabs = [Client(SERVER_NAME="localhost", raise_request_exception=False) for _ in range(3)]
    tabs[0].force_login(user)
    for tab in tabs[1:]:
        tab.cookies = tabs[0].cookies
    return user, tabs


def _report_outcomes(report: Report) -> None:
    """Report that valid traffic succeeded, and that races were won and lost."""
    from django.db.models import Count

    from bookings.models import InboundMessage, OutboundMessage

    outcomes = dict(
        InboundMessage.objects.order_by("outcome").values_list("outcome").annotate(Count("pk"))
    )
    report.figure("outcomes", outcomes)
    report.control("replies move bookings", holds=outcomes.get("moved", 0) > 0)
    report.control("the last place is refused to the others", holds=outcomes.get("full", 0) > 0)
    sent = OutboundMessage.objects.filter(state="submitted").count()
    report.figure("texts handed over", sent)
    report.control("texts are handed over", holds=sent > 0)


def _run_with_bug(
    name: str, bug: Callable[[], Any], play: Callable[[int], list[str]], first: int, report: Report
) -> int:
    """Run rounds with a bug until one finds it; returns the number of the next round."""
    logging.disable()  # the bug's errors
    with bug():
        for number in range(first, first + _MOST_ROUNDS_WITH_BUG):
            if faults := play(number):
                report.figure(f"{name}: caught in round {number - first + 1}", faults[0][:120])
                break
        report.control(f"{name}: is caught", holds=bool(faults))
    logging.disable(logging.NOTSET)
    return number + 1


# Seeded bugs


@contextmanager
def _without_customer_lock() -> Iterator[None]:
    with (
        patch("bookings.replies.context.lock_customer", lambda *msisdns: None),
        patch("bookings.notifications.asking.lock_customer", lambda *msisdns: None),
    ):
        yield


@contextmanager
def _without_slot_lock() -> Iterator[None]:
    with patch("bookings.models.schedule.SlotQuerySet.locked", lambda rows: rows.order_by("pk")):
        yield


@contextmanager
def _select_before_insert() -> Iterator[None]:
    from bookings.models.inbound import InboundMessageQuerySet

    store = InboundMessageQuerySet.store

    def check_then_insert(rows: Any, sms: Any) -> Any:
        if rows.filter(gateway_message_id=sms.gateway_message_id).exists():
            return None
        with patch.object(InboundMessageQuerySet, "bulk_create", _insert):
            return store(rows, sms)

    def _insert(rows: Any, new: list[Any], **_: Any) -> None:
        new[0].save(force_insert=True)

    with patch.object(InboundMessageQuerySet, "store", check_then_insert):
        yield


@contextmanager
def _claim_without_condition() -> Iterator[None]:
    """Read what is due, then claim it although another sender may have claimed it meanwhile."""
    import secrets

    from django.db.models import F
    from django.db.models.functions import Now
    from django.utils import timezone

    from bookings.models import OutboundMessage
    from bookings.outbox.claiming import LEASE, Claimed, due_now

    def claim(most: int) -> Claimed:
        chosen = list(due_now(timezone.now()).values_list("pk", flat=True)[:most])
        ours = OutboundMessage.objects.filter(pk__in=chosen)
        token = secrets.token_hex(16)
        ours.update(state="sending", token=token, lease_until=Now() + LEASE, claims=F("claims") + 1)
        return Claimed(list(ours), None if not chosen else LEASE)

    with patch("bookings.outbox.claiming.claim", claim):
        yield


@contextmanager
def _sqlite_by_default() -> Iterator[None]:
    """Use SQLite as Django does by default: threads take no turns, and begin transactions by reading.

    A transaction that has read may be unable to write. Either protection alone is enough for the threads of one
    process, so that both are removed.
    """
    from django.db import connection

    deferred = patch.dict(connection.settings_dict["OPTIONS"], transaction_mode="DEFERRED")
    without_turns = patch("delivery_sms.sqlite3.base.DatabaseWrapper._take_turn", lambda self: None)
    with deferred, without_turns:
        connection.close()
        yield
    connection.close()


_BUGS = {"a claim that reads, then writes": _claim_without_condition}
#: Not on SQLite: its IMMEDIATE transactions exclude one another from their first statement on.
_BUGS_ON_POSTGRES = {
    "no lock on the customer": _without_customer_lock,
    "no lock on the slots": _without_slot_lock,
    "a look before the insert": _select_before_insert,
}
_BUGS_ON_SQLITE = {"no turns, and transactions that begin by reading": _sqlite_by_default}

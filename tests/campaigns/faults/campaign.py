"""Campaign `faults`: every way in which Vonage can answer badly or not at all, against the product's sender.

Each attempt must be one POST, counted at the server, and get the verdict of the table below. Its message must reach the
state of that verdict, be tried again only after its wait, and not hold up the next one. Sizes are times that each fault
is met.
"""

import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import certifi
import psycopg
import requests

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.fake_vonage import FakeVonage
from tests.processes import VIRTUAL_NUMBER, wait_for

FULL, SMALL = 20, 1

_CLASSES = {
    "accepted": "0",
    "throttled": "1 10",
    "account": "4 8 9 11 14 32",
    "provider_error": "5",
    "refused": "2 3 6 7 12 15 22 23 29 33",
}
_CLASS_OF = {code: name for name, codes in _CLASSES.items() for code in codes.split()}
_STATUSES = {f"status:{code}": _CLASS_OF.get(str(code), "unknown") for code in range(100)}
_FAULTS = _STATUSES | {
    "ok": "accepted",
    "drip": "accepted",
    "slow:1": "accepted",
    "count:0": "accepted",
    "count:2": "unknown",
    "partial": "partial",
    "no_error_text": "refused",
    "accept_then_close": "unknown",
    "accept_then_reset": "unknown",
    "half_headers": "unknown",
    "half_body": "unknown",
    "huge": "unknown",
    "endless": "unknown",
    "html200": "unknown",
    "empty200": "unknown",
    "redirect_302": "unknown",
    "redirect_307": "unknown",
    "redirect_308": "unknown",
    "400": "refused",
    "404": "unknown",
    "408": "unknown",
    "413": "refused",
    "422": "refused",
    "429": "throttled",
    "500": "provider_error",
    "503": "provider_error",
    "504": "unknown",
    "html500": "unknown",
    "html502": "unknown",
    "html503": "unknown",
    "html504": "unknown",
}
_SLOW = dict.fromkeys(["hang", "drip_headers", "drip_body"], "unknown")
_ACCOUNT = {"401": "account", "403": "account"} | {
    mode: name for mode, name in _STATUSES.items() if name == "account"
}
_PLAIN = {mode: name for mode, name in _FAULTS.items() if name != "account"}

_STATE = {"accepted": "submitted", "refused": "failed", "partial": "failed", "unknown": "unknown"}
#: Vonage took the first part and did not mention the second: a receipt will come.
_STATE_OF = {"count:2": "submitted"}
#: Least seconds between two attempts: as Vonage asks, or the shortest of our own waits.
_WAIT = {"429": 2.0, "status:1": 0.25, "status:10": 0.8}
_OWN_WAIT = 4.0

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class _Case:
    """One message that meets one fault, once."""

    mode: str
    verdict: str
    message: int


def run(environment: Environment, size: int, report: Report) -> None:
    """Meet each fault `size` times: slow ones, refusals of the account, then all others."""
    unreached = _not_reached(environment.network, size)
    with environment.sender("--threads", "24"):
        cases = _queue(environment.network, _SLOW, size)
        wait_for(lambda: _attempts(cases) == len(cases), seconds=120)
        _look_for_open_transactions(environment, report)
        # An accepted text closes the circuit, so none may be under way while the circuit is tested.
        taken = unreached + [case for case in cases if case.mode == "ok"]
        wait_for(lambda: not _unsettled(taken), seconds=120)
        for mode, verdict in list(_ACCOUNT.items()) * size:
            cases += _stop_the_queue(environment.network, mode, verdict, report)
        cases += unreached + _queue(environment.network, _PLAIN, size)
        wait_for(lambda: not _unsettled(cases), seconds=120 + 20 * size)
    _verify(environment.network, cases, report)
    for line in environment.contradictions():
        report.found(line)
    _control_counter(environment.network, report)


def _queue(network: FakeVonage, faults: dict[str, str], times: int) -> list[_Case]:
    """Queue a message for each fault, each followed by one that is accepted."""
    cases = []
    for mode, verdict in list(faults.items()) * times:
        cases.append(_Case(mode, verdict, _message(network, mode)))
        if not mode.startswith("status:"):
            cases.append(_Case("ok", "accepted", _message(network, "ok")))
    return cases


def _message(network: FakeVonage, mode: str) -> int:
    from bookings.models import Kind
    from bookings.outbox import queue

    number = next(_numbers)
    msisdn = f"4473{number:08}"
    network.set_mode(mode, times=1, to=msisdn)
    message = queue(
        Kind.STAFF, f"Acme: {number}", key=f"{number}", msisdn=msisdn, sender=VIRTUAL_NUMBER
    )
    return message.pk


def _attempts(cases: list[_Case]) -> int:
    from bookings.models import SendAttempt

    return SendAttempt.objects.filter(message__in=[case.message for case in cases]).count()


def _unsettled(cases: list[_Case]) -> bool:
    """Return True if any of them still waits for an attempt."""
    from bookings.models import OutboundMessage

    waiting = OutboundMessage.objects.filter(state__in=["queued", "sending"])
    return waiting.filter(pk__in=[case.message for case in cases]).exists()


def _verify(network: FakeVonage, cases: list[_Case], report: Report) -> None:
    from bookings.models import SendAttempt

    posts = Counter(post.client_ref for post in network.posts)
    came_at = {post.client_ref: post.at for post in network.posts}
    attempts: dict[int, list[SendAttempt]] = {case.message: [] for case in cases}
    for attempt in SendAttempt.objects.select_related("message").order_by("number"):
        attempts[attempt.message_id].append(attempt)
    for case in cases:
        tries = attempts[case.message]
        report.tried("faults" if case.mode != "ok" else "messages that met none")
        report.tried("tries", len(tries))
        for fault in _broken(case, tries, posts, came_at):
            report.found(f"{case.mode}, message {case.message}: {fault}")
    taken = [case for case in cases if case.mode == "ok"]
    ok = all(attempts[case.message][0].verdict == "accepted" for case in taken)
    report.control("a good send is accepted", holds=bool(taken) and ok)


def _broken(
    case: _Case, tries: list[Any], posts: Counter[str], came_at: dict[str, float]
) -> Iterator[str]:
    for attempt in tries:
        is_posted = case.verdict != "not_sent" or attempt.number > 1
        if posts[attempt.client_ref] != is_posted:
            yield f"try {attempt.number} was {posts[attempt.client_ref]} POSTs"
    is_tried_again = case.verdict not in _STATE
    verdicts = [attempt.verdict for attempt in tries]
    if verdicts != [case.verdict] + ["accepted"] * is_tried_again:
        yield f"it should be {case.verdict}, its tries were {verdicts}"
        return
    state = tries[-1].message.state
    if state != _STATE_OF.get(case.mode, _STATE.get(case.verdict, "submitted")):
        yield f"its message is {state}"
    if case.verdict in {"throttled", "provider_error"}:
        yield from _too_soon(case, *(came_at[attempt.client_ref] for attempt in tries))


def _too_soon(case: _Case, first: float, second: float) -> Iterator[str]:
    if second - first < _WAIT.get(case.mode, _OWN_WAIT):
        yield f"it was tried again after {second - first:.2f} s"


def _stop_the_queue(
    network: FakeVonage, mode: str, verdict: str, report: Report
) -> Iterator[_Case]:
    """Let one refusal of the account open the circuit; check that nothing is tried until it is closed."""
    from bookings.models import Circuit
    from bookings.outbox.circuit import close_circuit

    case = _Case(mode, verdict, _message(network, mode))
    yield case
    wait_for(lambda: Circuit.current().opened_at and not _is_sending(case), seconds=120)
    held = _Case("ok", "accepted", _message(network, "ok"))
    yield held
    time.sleep(0.3)  # longer than a sender sleeps between looks at the queue
    if _attempts([case, held]) != 1:
        report.found(f"{mode}: with the circuit open, something was tried")
    close_circuit()
    wait_for(lambda: _attempts([case, held]) == 3, seconds=120)


def _is_sending(case: _Case) -> bool:
    from bookings.models import OutboundMessage

    return OutboundMessage.objects.filter(pk=case.message, state="sending").exists()


def _look_for_open_transactions(environment: Environment, report: Report) -> None:
    """Report a transaction that is open while calls are under way (row 60 of the catalogue)."""
    time.sleep(1.2)
    report.tried("looks for a transaction that is open during a call")
    if _stays_open(environment.database):
        report.found("a transaction was open during a call")
    with _open_transaction(environment.database):
        seen = _is_transaction_open(environment.database, older_than=0)
    report.control("a transaction left open is seen", holds=seen)


def _stays_open(database: str) -> bool:
    """Look three times: on a busy machine a short transaction may be open at one look."""
    for _ in range(3):
        if not _is_transaction_open(database, older_than=1):
            return False
        time.sleep(0.5)
    return True


@contextmanager
def _open_transaction(database: str) -> Iterator[None]:
    if database.startswith("sqlite"):
        with closing(_sqlite(database)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    with psycopg.connect(database) as connection:
        connection.execute("SELECT 1")
        yield


def _is_transaction_open(database: str, *, older_than: int) -> bool:
    """Return True if a transaction is older than so many seconds.

    Every transaction on SQLite holds the one write lock: there it counts if it holds it for a second.
    """
    if database.startswith("sqlite"):
        with closing(_sqlite(database)) as connection, suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            return False
        return True
    with psycopg.connect(database) as connection:
        open_ones = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND xact_start < now() - make_interval(secs => %s)",
            [older_than],
        ).fetchone()
    assert open_ones is not None
    return bool(open_ones[0])


def _sqlite(database: str) -> sqlite3.Connection:
    path = database.removeprefix("sqlite:///")
    return sqlite3.connect(path, timeout=1, isolation_level=None)


def _not_reached(network: FakeVonage, times: int) -> list[_Case]:
    """Send to hosts that cannot be reached: nothing is posted, and every message is tried again later."""
    from bookings.gateways.vonage import VonageGateway
    from bookings.models import OutboundMessage
    from bookings.outbox.claiming import claim
    from bookings.outbox.sending import hand_over

    def send(host: str, ca_file: str, message: OutboundMessage) -> None:
        from django.db import connection

        gateway = VonageGateway(
            api_key="abcd1234",
            api_secret="AbCdEf0123456789",
            rest_host=host,
            ca_bundle=ca_file,
            timeout=1,
        )
        with closing(gateway):
            hand_over(message, gateway)
        connection.close()

    with _dead_ends() as hosts, ThreadPoolExecutor(8) as threads:
        places = [(host, network.ca_file) for host in hosts] + [(network.host, certifi.where())]
        for _ in places * times:
            _message(network, "ok")
        messages = claim(len(places) * times).messages
        jobs = zip(places * times, messages, strict=True)
        for done in [threads.submit(send, *place, message) for place, message in jobs]:
            done.result()
    return [_Case("not reached", "not_sent", message.pk) for message in messages]


@contextmanager
def _dead_ends() -> Iterator[list[str]]:
    """Yield hosts that cannot be reached: no such name, a closed port, TLS that is cut off, TLS that hangs."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as rude,
    ):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            refused = gone.getsockname()[1]

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    rude.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        ports = [refused, rude.getsockname()[1], silent.getsockname()[1]]
        yield ["vonage.invalid", *(f"localhost:{port}" for port in ports)]
        rude.shutdown(socket.SHUT_RDWR)


def _control_counter(network: FakeVonage, report: Report) -> None:
    """Show that a text posted twice is noticed: the SDK by itself repeats a POST whose answer is lost."""
    from vonage import Auth, HttpClientOptions, Vonage
    from vonage_sms import SmsMessage

    auth = Auth(api_key="abcd1234", api_secret="AbCdEf0123456789")
    client = Vonage(auth, HttpClientOptions(rest_host=network.host))
    network.set_mode("accept_then_close", to="447700900001")
    with suppress(requests.ConnectionError):
        client.sms.send(
            SmsMessage(to="447700900001", from_="447700900000", text="raw", client_ref="raw")
        )
    posted = network.count("raw")
    report.figure("POSTs of one send by the SDK as it comes", posted)
    report.control("a text that is posted twice is noticed", holds=posted > 1)

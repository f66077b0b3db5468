"""Campaign `kill`: senders are killed and frozen at random moments. No text is sent twice, and none gets stuck.

Time passes in the database: once every sender is dead or frozen, the leases of the texts they held are moved into the
past, which has the same effect as waiting for a minute. Sizes are kills.
"""

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from tests.campaigns.kill.process_killer import (
    SENDERS,
    ProcessKiller,
    pass_a_minute,
    pass_a_quarter,
    refs_in_state,
)
from tests.campaigns.kill.worker_processes import (
    NAIVE,
    POISON,
    POISONED_CALL,
    WorkerProcesses,
    worker_processes,
)
from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.processes import VIRTUAL_NUMBER, wait_for

FULL, SMALL = 1000, 12

_TEXTS_PER_KILL, _LEAST_TEXTS = 3, 60
#: Answers of the network by their share. It accepts every text; the answer can be slow or lost.
_MODES = {"ok": 3, "slow:0.05": 5, "slow:0.2": 2, "accept_then_close": 1, "half_body": 1}
_BYSTANDERS = 12

_numbers = count(1)


def run(environment: Environment, size: int, report: Report) -> None:
    """Kill senders `size` times, then check all texts, poisoned texts, and a naive sender as a control."""
    _create_user_and_slot()
    with (
        environment.web() as web,
        worker_processes(environment.variables, environment.log("worker-processes")) as workers,
    ):
        environment.network.receipts_to = web.base_url
        killer = ProcessKiller(environment, workers, "sender")
        per_kill = max(_TEXTS_PER_KILL, _LEAST_TEXTS // size)
        while killer.kills < size or (not _cut_calls() and killer.kills < 5 * size):
            _queue_texts(environment, SENDERS * per_kill)
            killer.let_work_and_kill()
            if killer.kills >= size:
                killer.end()
        report.tried("kills", killer.kills)
        report.tried("freezes past the lease", killer.freezes)
        _send_the_rest(environment, workers)
        _verify(environment, report)
        _check_poisoned_texts(environment, workers, report)
        for line in environment.contradictions():
            report.found(line)
        report.figure(
            "receipts were answered with", dict(Counter(environment.network.receipt_statuses))
        )
        _control_naive(environment, workers, min(size, 60), report)


def _create_user_and_slot() -> None:
    from django.contrib.auth.models import User

    from bookings.models import Slot

    User.objects.create_superuser("dispatcher")
    day = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)
    Slot.objects.create(date=day, window_start=dt.time(9), window_end=dt.time(12))


def _queue_texts(environment: Environment, how_many: int) -> None:
    """Queue notifications, acknowledgements and notices of dispatch, each to a new number."""
    from django.db import OperationalError

    for _ in range(how_many):
        number = next(_numbers)
        (mode,) = environment.random.choices(list(_MODES), list(_MODES.values()))
        environment.network.set_mode(mode, to=_msisdn(number))
        kind = environment.random.choice(["notification", "acknowledgement", "told"])
        for wait in (1, 2, 4, 8, 0):  # on SQLite a frozen sender may hold the write lock
            try:
                _queue_text(kind, number)
                break
            except OperationalError:
                if not wait:
                    raise
                time.sleep(wait)


def _queue_text(kind: str, number: int) -> None:
    from django.db import transaction

    from bookings.models import Booking, Kind, Slot
    from bookings.notifications.asking import notify

    with transaction.atomic():
        if kind != Kind.NOTIFICATION:
            _queue(Kind(kind), number, "hello")
            return
        slot = Slot.objects.earliest("pk")
        notify(Booking.objects.create(reference=f"K-{number}", msisdn=_msisdn(number), slot=slot))


def _queue(kind: Any, number: int, words: str) -> Any:
    from bookings.outbox import queue

    text, key = f"Acme {number}: {words}.", f"kill:{number}"
    return queue(kind, text, key=key, msisdn=_msisdn(number), sender=VIRTUAL_NUMBER)


def _msisdn(number: int) -> str:
    return f"4471{number:08}"


def _send_the_rest(environment: Environment, workers: WorkerProcesses) -> None:
    """Send all that is left without kills, and again after 15 minutes what may be sent again."""
    pid = workers.start("sender")
    wait_for(
        lambda: not refs_in_state("queued", "sending"), seconds=60 + len(refs_in_state("queued"))
    )
    workers.kill(pid)
    _let_receipts_come(environment)
    pass_a_quarter()
    pid = workers.start("drain")
    wait_for(lambda: not workers.is_alive(pid), seconds=300)
    _let_receipts_come(environment)


def _let_receipts_come(environment: Environment) -> None:
    """Wait until each text that the network accepted is delivered, for at most 180 s; `_verify` reports the others."""
    with suppress(AssertionError):
        wait_for(lambda: not _posted(environment) - refs_in_state("delivered"), seconds=180)


def _posted(environment: Environment) -> set[str]:
    """Return the refs of the messages that were posted to the network."""
    return {_ref(post.client_ref) for post in list(environment.network.posts)}


def _ref(client_ref: str) -> str:
    return client_ref.rpartition("-")[0]


def _verify(environment: Environment, report: Report) -> None:
    from bookings.models import OutboundMessage

    posts = Counter(_ref(post.client_ref) for post in environment.network.posts)
    for fault in (*_doubles(environment), *_unpaired_bookings(report)):
        report.found(fault)
    unknown_refs = set(posts) - set(OutboundMessage.objects.values_list("ref", flat=True))
    for ref in sorted(unknown_refs):
        report.found(f"the network took {ref!r}, which is no message")
    states: Counter[str] = Counter()
    for message in OutboundMessage.objects.prefetch_related("attempts"):
        report.tried(f"texts of kind {message.kind}")
        states[message.state] += 1
        for fault in _faults(message, posts[message.ref]):
            report.found(f"message {message.pk}, a {message.kind}: {fault}")
    report.figure("texts by state at the end", dict(states))
    report.figure("POSTs", len(environment.network.posts))
    _report_unknown(environment, report)
    report.control("texts are delivered", holds=states["delivered"] > 0)


def _doubles(environment: Environment) -> Iterator[str]:
    """Yield attempts that were posted more than once."""
    for client_ref, times in Counter(post.client_ref for post in environment.network.posts).items():
        if times > 1:
            yield f"attempt {client_ref} was {times} POSTs"


def _faults(message: Any, posts: int) -> Iterator[str]:
    """Yield what is wrong with a message, from the network's count and the stored rows."""
    from bookings.models import Kind

    attempts = list(message.attempts.order_by("number"))
    if posts > (2 if message.kind in {Kind.NOTIFICATION, Kind.TOLD} else 1):
        yield f"{posts} POSTs"
    elif posts == 2 and not _was_unknown(*attempts[:2]):
        yield f"sent again, though its first try was {attempts[0].verdict}"
    if posts and message.state != "delivered":
        tries = [f"{attempt.number} {attempt.verdict or 'open'}" for attempt in attempts]
        yield f"the network took it, and it is {message.state}: {message.reason} (tries: {tries})"
    if message.state not in {"delivered", "failed", "unknown"}:
        yield f"it ends {message.state}"
    elif message.state != "delivered" and not message.reason:
        yield f"it is {message.state}, and has no reason"


def _was_unknown(first: Any, second: Any) -> bool:
    """Return True if the outcome of the first attempt was unknown when the second began.

    A frozen sender that went on later may have stored its answer since.
    """
    is_late = first.settled_at is not None and first.settled_at >= second.call_started_at
    return first.verdict == "unknown" or is_late


def _cut_calls() -> list[tuple[str, str]]:
    """Return calls whose sender was killed, as (kind, client-ref); before `end` also those of frozen senders."""
    from django.db.models import Q

    from bookings.models import SendAttempt

    # If a receipt came before the lease ended, no reason was written.
    stopped = Q(reason="The sender stopped during the call.") | Q(verdict="")
    return list(SendAttempt.objects.filter(stopped).values_list("message__kind", "client_ref"))


def _report_unknown(environment: Environment, report: Report) -> None:
    from bookings.models import OutboundMessage

    posted = {post.client_ref for post in environment.network.posts}
    calls = _cut_calls()
    never_left = Counter(kind for kind, client_ref in calls if client_ref not in posted)
    report.figure("calls whose sender stopped", dict(Counter(kind for kind, _ in calls)))
    report.figure("of these never left", dict(never_left))
    again = OutboundMessage.objects.filter(sent_again=True)
    report.figure("sent once more", again.count())
    left = OutboundMessage.objects.filter(state="unknown").values_list("kind", flat=True)
    report.figure("unknown at the end", dict(Counter(left)))
    given_up = OutboundMessage.objects.filter(state="failed").count()
    report.figure("given up, since three senders died with them before the call", given_up)
    report.control("senders were killed during calls", holds=bool(calls))


def _unpaired_bookings(report: Report) -> Iterator[str]:
    """Yield bookings of a killed dispatcher without their notification (row 45 of the catalogue)."""
    from bookings.models import Booking

    booked = Booking.objects.filter(reference__startswith="D-").count()
    report.figure("bookings made by a dispatcher who was killed", booked)
    for booking in Booking.objects.filter(outbound_messages=None):
        yield f"booking {booking.reference} was saved, and its text was not queued"


def _check_poisoned_texts(
    environment: Environment, workers: WorkerProcesses, report: Report
) -> None:
    """Queue texts that kill every sender that claims or sends them; the other texts must still go out."""
    from bookings.models import Kind

    deadly = [_queue(Kind.ACKNOWLEDGEMENT, next(_numbers), POISON) for _ in range(2)]
    calls = [_queue(Kind.ACKNOWLEDGEMENT, next(_numbers), POISONED_CALL) for _ in range(2)]
    others = [_queue(Kind.ACKNOWLEDGEMENT, next(_numbers), "hello") for _ in range(_BYSTANDERS)]
    deaths = _start_until_done(workers, most=3 * len(deadly + calls))
    report.figure("senders that poisoned texts killed", deaths)
    wait_for(lambda: _posted(environment) <= refs_in_state("delivered"), seconds=30)
    ends = [(deadly, "failed", 0), (calls, "unknown", 1), (others, "delivered", 1)]
    for message, *expected in ((message, *end) for messages, *end in ends for message in messages):
        message.refresh_from_db()
        found = [message.state, message.attempts.count()]
        # Another text's sender may be killed between "call started" and the first byte.
        never_left = found == ["unknown", 1] and message.ref not in _posted(environment)
        if found != expected and not (message in others and never_left):
            report.found(f"{message.text} ends {found}, not {expected}: {message.reason}")
    report.control("poisoned texts kill senders", holds=deaths > 0)


def _start_until_done(workers: WorkerProcesses, *, most: int) -> int:
    """Start one sender after the other until nothing waits; returns how many died."""
    for deaths in range(most + 1):
        pid = workers.start("poisonable")
        wait_for(partial(_is_over, workers, pid))
        if workers.is_alive(pid):
            workers.kill(pid)
            return deaths
        pass_a_minute()
    return most + 1


def _is_over(workers: WorkerProcesses, pid: int) -> bool:
    """Return True if the sender is dead or nothing waits any more."""
    return not workers.is_alive(pid) or not refs_in_state("queued", "sending")


def _control_naive(
    environment: Environment, workers: WorkerProcesses, kills: int, report: Report
) -> None:
    """Kill a sender that repeats unanswered calls: the network's count must show texts that are sent twice."""
    from bookings.models import Kind, OutboundMessage

    environment.network.receipts_to = None
    environment.network.posts.clear()
    for _ in range(5 * kills):
        number = next(_numbers)
        environment.network.set_mode("slow:0.05", to=_msisdn(number))
        _queue(Kind.ACKNOWLEDGEMENT, number, "hello")
    OutboundMessage.objects.queued().update(gateway=NAIVE)
    killer = ProcessKiller(environment, workers, "naive")
    while killer.kills < kills:
        killer.let_work_and_kill()
    killer.end()
    doubles = list(_doubles(environment))
    report.figure(f"texts that a naive sender sends twice, in {killer.kills} kills", len(doubles))
    report.control("a sender that sends twice is caught", holds=bool(doubles))

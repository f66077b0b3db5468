"""Replies at a steady rate, while faults break what the product runs on: nothing lost, nothing twice.

Sizes are seconds. What happened is written down as it happens, and judged when it is over.
"""

import dataclasses
import random
import statistics
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.campaigns.soak.customers import Customer, create_customers
from tests.campaigns.soak.fault_injector import OUTAGE, WEB_FAULTS, FaultInjector
from tests.campaigns.soak.traffic import DeliveryAttempt, EventLog, FaultPeriod, Traffic
from tests.campaigns.soak.verification import (
    Observations,
    collect_observations,
    find_violations,
    unsent_acknowledgements,
)

FULL, SMALL = 600, 12

RATE = 100  # replies a second
_SHARE = 0.5  # of what the machine can do, where that is less than the rate
_FAULTS = 30
_PATIENCE = 90.0  # seconds without any text that leaves
_RETURN = 2.0  # seconds, to the first 200
_GIVES_UP = 5.0  # seconds, to a 503
_COMES_BACK = 15.0  # seconds, until a web that was killed or frozen is itself again


def run(environment: Environment, size: int, report: Report) -> None:
    """`size` seconds of traffic."""
    from django.db import connection

    is_brief = size < FULL / 2
    customers = create_customers(max(300, 10 * size))
    connection.close()  # it will not outlive the faults
    log = EventLog(environment.folder / "log.jsonl")
    injector = FaultInjector(environment, log, brief=is_brief)
    with environment.web() as web, injector.attached(web):
        environment.network.receipts_to = web.base_url
        traffic = Traffic(web.base_url, customers, environment.random, log)
        with traffic.flowing():
            rate = _calibrate(traffic, 0.4 if is_brief else size / 120, report)
            before = injector.memory()
            _play(size, traffic, injector, rate, report)
            if not traffic.finish(120):
                report.found("Two minutes after the last fault not every reply is taken.")
            seconds = _wait_for_senders(is_brief=is_brief)
            report.figure("seconds until the last acknowledgement had left", round(seconds))
            report.figure("memory in MB, before and after", f"{before}, {injector.memory()}")
    for line in environment.contradictions():
        report.found(line)
    lines = log.read()
    told = [line for line in lines if isinstance(line, DeliveryAttempt)]
    broken = [line for line in lines if isinstance(line, FaultPeriod)]
    posts = [(p.client_ref, p.form["to"], p.form["text"]) for p in list(environment.network.posts)]
    observations = collect_observations(environment.database, posts)
    for fault in find_violations(told, customers, observations):
        report.found(fault)
    _control_the_verification(told, customers, observations, report)
    _tell(told, broken, observations, report, is_full=not is_brief)
    for reason in environment.breakable.skipped:
        report.tried(f"faults SKIPPED ({reason})")


def _calibrate(traffic: Traffic, seconds: float, report: Report) -> float:
    """How fast this machine is: the rate that leaves it room to make good for a fault."""
    began_at = time.monotonic()
    replies = traffic.offer(RATE, seconds)
    traffic.finish(60)
    possible = replies / (time.monotonic() - began_at)
    report.figure("replies a second, as fast as it goes", round(possible, 1))
    return min(RATE, _SHARE * possible)


def _play(
    size: int, traffic: Traffic, injector: FaultInjector, rate: float, report: Report
) -> None:
    """First undisturbed, then one fault after the other, at the end undisturbed again."""
    calm = max(2.0, size / 20)
    began_at = time.monotonic()
    offered = traffic.offer(rate, calm)
    report.control("undisturbed replies are taken", holds=traffic.finish(10))
    with ThreadPoolExecutor(1) as pool:
        breaking = pool.submit(_break, injector, size)
        while not breaking.done() or time.monotonic() - began_at < size:
            offered += traffic.offer(rate, 1)
        breaking.result()
    seconds = time.monotonic() - began_at
    report.figure("replies a second, offered", f"{offered / seconds:.1f} of the {RATE} wanted")


def _break(injector: FaultInjector, size: int) -> None:
    """Each fault at a moment by chance within its share of the time."""
    chance = injector.chance
    faults = _plan(list(injector.faults()), chance, is_brief=size < FULL / 2)
    share = 0.85 * size / len(faults)
    began_at = time.monotonic()
    for number, fault in enumerate(faults):
        at = began_at + share * (number + chance.uniform(0, 0.5))
        time.sleep(max(0.0, at - time.monotonic()))
        injector.inject(fault)


def _plan(names: list[str], chance: random.Random, *, is_brief: bool) -> list[str]:
    """Each as often as any other, in an order by chance; in a short run a few, the outage among them."""
    if is_brief:
        others = chance.sample([name for name in names if name != OUTAGE], 3)
        return [OUTAGE] * (OUTAGE in names) + others
    faults = (names * _FAULTS)[:_FAULTS]
    chance.shuffle(faults)
    return faults


def _wait_for_senders(*, is_brief: bool) -> float:
    """Until nothing is queued or being sent, or nothing moves for 90 seconds; how long that took.

    What a killed sender held waits for its lease to end, a minute later: a brief run does not.
    """
    from bookings.models import MessageState, OutboundMessage

    states = [MessageState.QUEUED] if is_brief else [MessageState.QUEUED, MessageState.SENDING]
    waiting = OutboundMessage.objects.filter(state__in=states)
    began_at = moved_at = time.monotonic()
    left = waiting.count()
    while left and time.monotonic() - moved_at < _PATIENCE:
        time.sleep(0.5)
        if (count := waiting.count()) != left:
            left, moved_at = count, time.monotonic()
    return time.monotonic() - began_at


def _control_the_verification(
    told: list[DeliveryAttempt],
    customers: list[Customer],
    observations: Observations,
    report: Report,
) -> None:
    """Its eyes are open: each of these would be a broken promise."""
    taken = next(line for line in reversed(told) if line.kind == "reply" and line.status == 200)
    misread = [
        dataclasses.replace(line, digit=line.digit % 3 + 1)
        if line.message_id == taken.message_id
        else line
        for line in told
    ]
    bugs = {
        "another option": (misread, observations),
        "a reply lost": (told, dataclasses.replace(observations, inbound=observations.inbound[1:])),
        "a move doubled": (
            told,
            dataclasses.replace(
                observations, changes=[*observations.changes, observations.changes[-1]]
            ),
        ),
        "an SMS doubled": (
            told,
            dataclasses.replace(observations, posts=[*observations.posts, observations.posts[0]]),
        ),
        "a 500": ([*told, dataclasses.replace(taken, status=500)], observations),
    }
    for name, (log, seen) in bugs.items():
        report.control(
            f"a seeded bug is seen: {name}", holds=any(find_violations(log, customers, seen))
        )


def _tell(
    told: list[DeliveryAttempt],
    broken: list[FaultPeriod],
    observations: Observations,
    report: Report,
    *,
    is_full: bool,
) -> None:
    """The figures, and whether the database's return is noticed in time."""
    for name, times in Counter(line.fault for line in broken).items():
        report.tried(f"times {name}", times)
    if is_full:
        report.control("at least 20 faults", holds=len(broken) >= 20)
    report.tried("replies taken", len(observations.inbound))
    for kind, count in Counter(line.kind for line in told).items():
        report.tried(f"deliveries ({kind})", count)
    report.figure("answers", dict(Counter(str(line.status or "broken") for line in told)))
    report.figure("acknowledgements that reached the network", len(observations.posts))
    report.figure("acknowledgements that did not", unsent_acknowledgements(observations))
    report.figure("503 with no fault within 5 s", _without_fault(told, broken))
    report.figure("slowest 503", f"{_slowest(told, 503):.1f} s")
    report.figure("slowest 200", f"{_slowest(told, 200):.1f} s")
    _tell_of_refusals(told, broken, report, is_full=is_full)
    if any(line.fault == OUTAGE for line in broken):
        _tell_of_outages(told, broken, report, is_full=is_full)


def _tell_of_refusals(
    told: list[DeliveryAttempt], broken: list[FaultPeriod], report: Report, *, is_full: bool
) -> None:
    for name, seconds in _slowest_refusals(told, broken).items():
        report.figure(f"slowest 503 of a web that was there, {name}", f"{seconds:.1f} s")
        if is_full and seconds > _GIVES_UP:
            report.found(f"A 503 took {seconds:.1f} s")
    taken = next(line for line in told if line.status == 200)
    late = dataclasses.replace(taken, status=503, answered_at=taken.sent_at + 2 * _GIVES_UP)
    seen = any(seconds > _GIVES_UP for seconds in _slowest_refusals([late], []).values())
    report.control("a seeded bug is seen: a late 503", holds=seen)


def _slowest_refusals(told: list[DeliveryAttempt], broken: list[FaultPeriod]) -> dict[str, float]:
    """Seconds, by what was broken. A web that is frozen or gone cannot give up in time; else it must."""
    slowest = defaultdict[str, float](float)
    for line in told:
        if line.status == 503 and not _web_was_away(line.sent_at, line.answered_at, broken):
            name = _meanwhile(line, broken)
            slowest[name] = max(slowest[name], line.answered_at - line.sent_at)
    return slowest


def _tell_of_outages(
    told: list[DeliveryAttempt], broken: list[FaultPeriod], report: Report, *, is_full: bool
) -> None:
    """Judged is the median: the machine is shared. Where the web was down as well, it was not the database."""
    report.figure("answers while PostgreSQL was away", _while_away(told, broken))
    outages = [line for line in broken if line.fault == OUTAGE]
    alone: list[float] = []
    both: list[float] = []
    for line in outages:
        also_away = _web_was_away(line.began_at, line.ended_at, broken)
        (both if also_away else alone).append(_until_taken(told, line))
    name = "seconds from the database's return to the first 200"
    report.figure(name, _shown(alone))
    report.figure(f"{name}, where the web was away too", _shown(both))
    if is_full and alone and statistics.median(alone) > _RETURN:
        report.found(f"The database's return is noticed late: {_shown(alone)} s")


def _web_was_away(since: float, until: float, broken: list[FaultPeriod]) -> bool:
    return any(
        fault.fault in WEB_FAULTS
        and fault.began_at < until
        and since < fault.ended_at + _COMES_BACK
        for fault in broken
    )


def _meanwhile(line: DeliveryAttempt, broken: list[FaultPeriod]) -> str:
    """What was broken while this was waited for."""
    names = {
        fault.fault
        for fault in broken
        if fault.began_at < line.answered_at and fault.ended_at > line.sent_at
    }
    return ", ".join(sorted(names)) or "nothing broken"


def _without_fault(told: list[DeliveryAttempt], broken: list[FaultPeriod]) -> int:
    spans = [(line.began_at, line.ended_at + 5) for line in broken]
    return sum(
        line.status == 503
        and not any(line.answered_at > began and line.sent_at < ended for began, ended in spans)
        for line in told
    )


def _while_away(told: list[DeliveryAttempt], broken: list[FaultPeriod]) -> dict[str, int]:
    """Of what was sent and answered within an outage."""
    outages = [line for line in broken if line.fault == OUTAGE]
    return dict(
        Counter(
            str(line.status or "broken")
            for line in told
            for outage in outages
            if outage.began_at + 0.2 < line.sent_at and line.answered_at < outage.ended_at
        )
    )


def _slowest(told: list[DeliveryAttempt], status: int) -> float:
    return max(
        (line.answered_at - line.sent_at for line in told if line.status == status), default=0
    )


def _until_taken(told: list[DeliveryAttempt], outage: FaultPeriod) -> float:
    taken = (line.answered_at for line in told if line.status == 200)
    first = min((at for at in taken if at >= outage.ended_at), default=float("inf"))
    return first - outage.ended_at


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds) or "none"

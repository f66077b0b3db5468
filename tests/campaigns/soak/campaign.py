"""Campaign `soak`: replies at a steady rate while processes, locks, the database and its disk fail.

No reply may be lost or applied twice. Every delivery and every fault is written into a log while it happens; the log
is checked at the end. Sizes are seconds.
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
_SHARE = 0.5  # of the rate that the machine can take, if that is lower
_FAULTS = 30
_MOST_IDLE_SECONDS = 90.0  # the senders count as done when no text has left for so long
_MOST_SECONDS_TO_200 = 2.0  # after the database has returned
_MOST_SECONDS_TO_503 = 5.0
_SECONDS_TO_RECOVER = 15.0  # of a web that was killed or frozen


def run(environment: Environment, size: int, report: Report) -> None:
    """Run `size` seconds of traffic with faults, then check its log and that the checks find seeded errors."""
    from django.db import connection

    is_brief = size < FULL / 2
    customers = create_customers(max(300, 10 * size))
    connection.close()  # the faults would break it
    log = EventLog(environment.folder / "log.jsonl")
    injector = FaultInjector(environment, log, brief=is_brief)
    with environment.web(sends=injector.is_one_process) as web, injector.attached(web):
        environment.network.receipts_to = web.base_url
        traffic = Traffic(web.base_url, customers, environment.random, log)
        with traffic.flowing():
            rate = _calibrate(traffic, 0.4 if is_brief else size / 120, report)
            before = injector.memory()
            _run_traffic(size, traffic, injector, rate, report)
            if not traffic.finish(120):
                report.found("Two minutes after the last fault not every reply is taken.")
            seconds = _wait_for_senders(is_brief=is_brief)
            report.figure("seconds until the last acknowledgement had left", round(seconds))
            report.figure("memory in MB, before and after", f"{before}, {injector.memory()}")
    for line in environment.contradictions():
        report.found(line)
    lines = log.read()
    deliveries = [line for line in lines if isinstance(line, DeliveryAttempt)]
    faults = [line for line in lines if isinstance(line, FaultPeriod)]
    posts = [(p.client_ref, p.form["to"], p.form["text"]) for p in list(environment.network.posts)]
    observations = collect_observations(environment.database, posts)
    for fault in find_violations(deliveries, customers, observations):
        report.found(fault)
    _control_the_verification(deliveries, customers, observations, report)
    _report_figures(deliveries, faults, observations, report, is_full=not is_brief)
    for reason in environment.breakable.skipped:
        report.tried(f"faults SKIPPED ({reason})")


def _calibrate(traffic: Traffic, seconds: float, report: Report) -> float:
    """Measure how many replies a second this machine takes; returns a rate that lets it catch up after a fault."""
    began_at = time.monotonic()
    replies = traffic.offer(RATE, seconds)
    traffic.finish(60)
    possible = replies / (time.monotonic() - began_at)
    report.figure("replies a second, as fast as it goes", round(possible, 1))
    return min(RATE, _SHARE * possible)


def _run_traffic(
    size: int, traffic: Traffic, injector: FaultInjector, rate: float, report: Report
) -> None:
    """Offer replies: first undisturbed, then with one fault after the other, then undisturbed again."""
    calm = max(2.0, size / 20)
    began_at = time.monotonic()
    offered = traffic.offer(rate, calm)
    report.control("undisturbed replies are taken", holds=traffic.finish(10))
    with ThreadPoolExecutor(1) as pool:
        breaking = pool.submit(_inject_faults, injector, size)
        while not breaking.done() or time.monotonic() - began_at < size:
            offered += traffic.offer(rate, 1)
        breaking.result()
    seconds = time.monotonic() - began_at
    report.figure("replies a second, offered", f"{offered / seconds:.1f} of the {RATE} wanted")


def _inject_faults(injector: FaultInjector, size: int) -> None:
    """Inject each fault at a random moment of its share of the time."""
    chance = injector.chance
    faults = _plan_faults(list(injector.faults()), chance, is_brief=size < FULL / 2)
    share = 0.85 * size / len(faults)
    began_at = time.monotonic()
    for number, fault in enumerate(faults):
        at = began_at + share * (number + chance.uniform(0, 0.5))
        time.sleep(max(0.0, at - time.monotonic()))
        injector.inject(fault)


def _plan_faults(names: list[str], chance: random.Random, *, is_brief: bool) -> list[str]:
    """Return the faults in random order, each equally often; in a brief run a few, always with the outage."""
    if is_brief:
        others = chance.sample([name for name in names if name != OUTAGE], 3)
        return [OUTAGE] * (OUTAGE in names) + others
    faults = (names * _FAULTS)[:_FAULTS]
    chance.shuffle(faults)
    return faults


def _wait_for_senders(*, is_brief: bool) -> float:
    """Wait until nothing is queued or being sent, or nothing has left for 90 s; returns the seconds that took.

    A brief run does not wait for texts of a killed sender, whose lease ends a minute later.
    """
    from bookings.models import MessageState, OutboundMessage

    states = [MessageState.QUEUED] if is_brief else [MessageState.QUEUED, MessageState.SENDING]
    waiting = OutboundMessage.objects.filter(state__in=states)
    began_at = moved_at = time.monotonic()
    left = waiting.count()
    while left and time.monotonic() - moved_at < _MOST_IDLE_SECONDS:
        time.sleep(0.5)
        if (count := waiting.count()) != left:
            left, moved_at = count, time.monotonic()
    return time.monotonic() - began_at


def _control_the_verification(
    deliveries: list[DeliveryAttempt],
    customers: list[Customer],
    observations: Observations,
    report: Report,
) -> None:
    """Show that `find_violations` finds seeded errors: each of these records breaks a promise."""
    taken = next(
        line for line in reversed(deliveries) if line.kind == "reply" and line.status == 200
    )
    misread = [
        dataclasses.replace(line, digit=line.digit % 3 + 1)
        if line.message_id == taken.message_id
        else line
        for line in deliveries
    ]
    bugs = {
        "another option": (misread, observations),
        "a reply lost": (
            deliveries,
            dataclasses.replace(observations, inbound=observations.inbound[1:]),
        ),
        "a move doubled": (
            deliveries,
            dataclasses.replace(
                observations, changes=[*observations.changes, observations.changes[-1]]
            ),
        ),
        "an SMS doubled": (
            deliveries,
            dataclasses.replace(observations, posts=[*observations.posts, observations.posts[0]]),
        ),
        "a 500": ([*deliveries, dataclasses.replace(taken, status=500)], observations),
    }
    for name, (log, seen) in bugs.items():
        report.control(
            f"a seeded bug is seen: {name}", holds=any(find_violations(log, customers, seen))
        )


def _report_figures(
    deliveries: list[DeliveryAttempt],
    faults: list[FaultPeriod],
    observations: Observations,
    report: Report,
    *,
    is_full: bool,
) -> None:
    """Report the figures; at full size also late 503s and a late return after an outage."""
    for name, times in Counter(line.fault for line in faults).items():
        report.tried(f"times {name}", times)
    if is_full:
        report.control("at least 20 faults", holds=len(faults) >= 20)
    report.tried("replies taken", len(observations.inbound))
    for kind, count in Counter(line.kind for line in deliveries).items():
        report.tried(f"deliveries ({kind})", count)
    report.figure("answers", dict(Counter(str(line.status or "broken") for line in deliveries)))
    report.figure("acknowledgements that reached the network", len(observations.posts))
    report.figure("acknowledgements that did not", unsent_acknowledgements(observations))
    report.figure("503 with no fault within 5 s", _without_fault(deliveries, faults))
    report.figure("slowest 503", f"{_slowest(deliveries, 503):.1f} s")
    report.figure("slowest 200", f"{_slowest(deliveries, 200):.1f} s")
    _report_refusals(deliveries, faults, report, is_full=is_full)
    if any(line.fault == OUTAGE for line in faults):
        _report_outages(deliveries, faults, report, is_full=is_full)


def _report_refusals(
    deliveries: list[DeliveryAttempt], faults: list[FaultPeriod], report: Report, *, is_full: bool
) -> None:
    for name, seconds in _slowest_refusals(deliveries, faults).items():
        report.figure(f"slowest 503 of a web that was there, {name}", f"{seconds:.1f} s")
        if is_full and seconds > _MOST_SECONDS_TO_503:
            report.found(f"A 503 took {seconds:.1f} s")
    taken = next(line for line in deliveries if line.status == 200)
    late = dataclasses.replace(
        taken, status=503, answered_at=taken.sent_at + 2 * _MOST_SECONDS_TO_503
    )
    seen = any(seconds > _MOST_SECONDS_TO_503 for seconds in _slowest_refusals([late], []).values())
    report.control("a seeded bug is seen: a late 503", holds=seen)


def _slowest_refusals(
    deliveries: list[DeliveryAttempt], faults: list[FaultPeriod]
) -> dict[str, float]:
    """Return the slowest 503 in seconds, by the faults meanwhile.

    Answers of a web that was killed or frozen do not count: it cannot give up in time.
    """
    slowest = defaultdict[str, float](float)
    for line in deliveries:
        if line.status == 503 and not _web_was_away(line.sent_at, line.answered_at, faults):
            name = _faults_meanwhile(line, faults)
            slowest[name] = max(slowest[name], line.answered_at - line.sent_at)
    return slowest


def _report_outages(
    deliveries: list[DeliveryAttempt], faults: list[FaultPeriod], report: Report, *, is_full: bool
) -> None:
    """Report how soon the database's return is noticed: the median counts, since the machine may be busy.

    Outages during which the web was down as well are reported apart.
    """
    report.figure("answers while PostgreSQL was away", _while_away(deliveries, faults))
    outages = [line for line in faults if line.fault == OUTAGE]
    alone: list[float] = []
    both: list[float] = []
    for line in outages:
        also_away = _web_was_away(line.began_at, line.ended_at, faults)
        (both if also_away else alone).append(_seconds_until_taken(deliveries, line))
    name = "seconds from the database's return to the first 200"
    report.figure(name, _join_seconds(alone))
    report.figure(f"{name}, where the web was away too", _join_seconds(both))
    if is_full and alone and statistics.median(alone) > _MOST_SECONDS_TO_200:
        report.found(f"The database's return is noticed late: {_join_seconds(alone)} s")


def _web_was_away(since: float, until: float, faults: list[FaultPeriod]) -> bool:
    return any(
        fault.fault in WEB_FAULTS
        and fault.began_at < until
        and since < fault.ended_at + _SECONDS_TO_RECOVER
        for fault in faults
    )


def _faults_meanwhile(line: DeliveryAttempt, faults: list[FaultPeriod]) -> str:
    """Return the faults while this answer was waited for."""
    names = {
        fault.fault
        for fault in faults
        if fault.began_at < line.answered_at and fault.ended_at > line.sent_at
    }
    return ", ".join(sorted(names)) or "nothing broken"


def _without_fault(deliveries: list[DeliveryAttempt], faults: list[FaultPeriod]) -> int:
    spans = [(line.began_at, line.ended_at + 5) for line in faults]
    return sum(
        line.status == 503
        and not any(line.answered_at > began and line.sent_at < ended for began, ended in spans)
        for line in deliveries
    )


def _while_away(deliveries: list[DeliveryAttempt], faults: list[FaultPeriod]) -> dict[str, int]:
    """Count the answers to what was sent and answered within an outage."""
    outages = [line for line in faults if line.fault == OUTAGE]
    return dict(
        Counter(
            str(line.status or "broken")
            for line in deliveries
            for outage in outages
            if outage.began_at + 0.2 < line.sent_at and line.answered_at < outage.ended_at
        )
    )


def _slowest(deliveries: list[DeliveryAttempt], status: int) -> float:
    return max(
        (line.answered_at - line.sent_at for line in deliveries if line.status == status), default=0
    )


def _seconds_until_taken(deliveries: list[DeliveryAttempt], outage: FaultPeriod) -> float:
    taken = (line.answered_at for line in deliveries if line.status == 200)
    first = min((at for at in taken if at >= outage.ended_at), default=float("inf"))
    return first - outage.ended_at


def _join_seconds(seconds: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds) or "none"

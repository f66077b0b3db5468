"""Replies taken and texts sent a second, each alone and at the same time: does one starve the other?

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.replies_beside_texts [--seconds 10]

Each run makes a new database, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too. Web server and
sender are one process; with `--apart` they are two.
"""

import argparse
import datetime as dt
import math
import statistics
import sys
import time
from contextlib import nullcontext

from benchmarks.databases import on_each
from benchmarks.replies import post, reply_bodies
from tests.campaigns.shared.environment import DATABASES, Environment
from tests.campaigns.shared.web_process import WebProcess
from tests.fake_vonage import new_id
from tests.processes import VIRTUAL_NUMBER

_STEADY = 20  # replies a second
_MOST_REPLIES, _MOST_TEXTS = 150, 200  # a second, more than the product can do here


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--apart", action="store_true", help="the sender is a process of its own")
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    options = parser.parse_args()
    if options.database is None:
        apart = ["--apart"] if options.apart else []
        return on_each("replies_beside_texts", "--seconds", str(options.seconds), *apart)
    with (
        Environment(options.database, seed=1) as environment,
        environment.web(sends=not options.apart) as web,
        environment.sender() if options.apart else nullcontext(),
    ):
        print(f"\n{options.database}, {'two processes' if options.apart else 'one process'}")
        bodies = reply_bodies(environment, _MOST_REPLIES * options.seconds)
        post(web, [bodies.pop() for _ in range(50)])  # warms up each thread of the web
        _queue(_MOST_TEXTS * 3 * options.seconds)
        _measure("texts alone", web, [], options.seconds)
        steady = [bodies.pop() for _ in range(_STEADY * options.seconds)]
        _measure(f"texts, and {_STEADY} replies a second", web, steady, options.seconds, _STEADY)
        _measure("texts, and replies as fast as they go", web, bodies, options.seconds)
    return 0


def _queue(count: int) -> None:
    """Queue so many texts, less urgent than the acknowledgements."""
    from bookings.models import Kind, MessageState, OutboundMessage

    now = dt.datetime.now(dt.UTC)
    OutboundMessage.objects.bulk_create(
        OutboundMessage(
            idempotency_key=f"benchmark:{new_id('')}",
            kind=Kind.TOLD,
            priority=4,
            msisdn=f"4478{number:08}",
            sender=VIRTUAL_NUMBER,
            text="Acme: your delivery comes tomorrow.",
            parts=1,
            gateway="vonage",
            state=MessageState.QUEUED,
            queued_at=now,
            due_at=now,
        )
        for number in range(count)
    )
    time.sleep(1)  # the sender has seen them


def _measure(
    name: str, web: WebProcess, bodies: list[str], seconds: int, rate: float = math.inf
) -> None:
    """Print what went through while these replies were posted, for so many seconds at most."""
    sent_before, began_at = _sent(), time.monotonic()
    answers = post(web, bodies, rate, seconds=seconds)
    time.sleep(max(0.0, began_at + seconds - time.monotonic()))
    took = time.monotonic() - began_at
    print(f"  {name}: {(_sent() - sent_before) / took:.0f} texts a second", end="")
    waits = sorted(wait for status, wait in answers if status == 200)
    if waits:
        print(
            f", {len(waits) / took:.0f} replies a second, median {statistics.median(waits):.2f} s",
            end="",
        )
        print(f", the slowest {waits[-1]:.2f} s, {len(answers) - len(waits)} not taken", end="")
    print()


def _sent() -> int:
    from bookings.models import MessageState, OutboundMessage

    return OutboundMessage.objects.filter(state=MessageState.SUBMITTED).count()


if __name__ == "__main__":
    sys.exit(main())

"""Replies a second of the product's web server, beside a bare probe of the webhook and repeated replies.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.replies [--replies 1000]

Each run makes a new database, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too, and posts as fast
as it can over 24 connections, which are more than the web has threads. No sender runs. Linux only.
"""

import argparse
import http.client
import json
import math
import statistics
import sys
import threading
import time
from collections import Counter, deque
from urllib.parse import urlsplit

from benchmarks.databases import on_each
from tests.campaigns.shared.environment import DATABASES, Environment
from tests.campaigns.shared.web_process import WebProcess
from tests.campaigns.soak.customers import create_customers
from tests.campaigns.soak.traffic import ScheduledDelivery, signed_fields
from tests.network import new_id

_CONNECTIONS = 24


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    options = parser.parse_args()
    if options.database is None:
        return on_each("replies", "--replies", str(options.replies))
    with Environment(options.database, seed=1) as environment, environment.web() as web:
        warm, *replies = reply_bodies(environment, options.replies + 1)
        print(f"\n{options.database}: {options.replies} of each, over {_CONNECTIONS} connections")
        post(web, [warm] * 2 * _CONNECTIONS)  # warms up each thread of the web
        probe = _measure("a probe, without a query", web, ["{}"] * options.replies)
        _measure("a reply, which chooses a slot", web, replies, probe)
        _measure("the same reply once more", web, replies, probe)
    return 0


def reply_bodies(environment: Environment, count: int) -> list[str]:
    """Return the bodies of so many requests, each from a customer who was notified."""
    customers = create_customers(count)
    digits = (environment.random.choice(list(customer.slots)) for customer in customers)
    return [
        json.dumps(signed_fields(ScheduledDelivery(0, 0, customer, digit, "reply", new_id("0B"))))
        for customer, digit in zip(customers, digits, strict=True)
    ]


def _measure(name: str, web: WebProcess, bodies: list[str], probe: float = 0) -> float:
    """Post and print the figures; returns the web's CPU milliseconds for each request."""
    before, began = web.cpu_seconds(), time.monotonic()
    answers = post(web, bodies)
    took, cpu = time.monotonic() - began, 1000 * (web.cpu_seconds() - before) / len(bodies)
    assert len(answers) == len(bodies)
    seconds = [second for _, second in answers]
    print(f"  {name}: {len(bodies) / took:.0f} a second, {cpu:.1f} ms of CPU", end="")
    print(f" ({cpu / probe:.1f} x the probe)" if probe else "", end="")
    print(f", by the clock {statistics.median(seconds):.2f} s", end="")
    print(f" (the slowest {max(seconds):.2f} s)", dict(Counter(status for status, _ in answers)))
    return cpu


def post(
    web: WebProcess, bodies: list[str], rate: float = math.inf, seconds: float = math.inf
) -> list[tuple[int, float]]:
    """Post the bodies, `rate` a second at most; returns the status and the wall seconds of each.

    Bodies that are left after so many seconds are not posted.
    """
    host = urlsplit(web.base_url).netloc
    started_at, answers = time.monotonic(), list[tuple[int, float]]()
    waiting = deque((started_at + number / rate, body) for number, body in enumerate(bodies))

    def post_some() -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        while time.monotonic() < started_at + seconds:
            try:
                due_at, body = waiting.popleft()
            except IndexError:
                break
            time.sleep(max(0.0, due_at - time.monotonic()))
            began = time.monotonic()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/webhooks/inbound-sms", body, headers)
            response = connection.getresponse()
            response.read()
            answers.append((response.status, time.monotonic() - began))
        connection.close()

    threads = [threading.Thread(target=post_some) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


if __name__ == "__main__":
    sys.exit(main())

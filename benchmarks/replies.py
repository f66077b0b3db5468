"""How fast the web that ships takes replies, beside a probe of its webhook and the same replies once more.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.replies [--replies 1000]

Each run makes a database of its own, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too, and posts
as fast as it goes over 24 connections: more than the web has threads. No sender runs. It must run on Linux.
"""

import argparse
import http.client
import json
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
from tests.fake_vonage import new_id

_CONNECTIONS = 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    told = parser.parse_args()
    if told.database is None:
        return on_each("replies", "--replies", str(told.replies))
    with Environment(told.database, seed=1) as environment, environment.web() as web:
        warm, *replies = _replies(environment, told.replies + 1)
        print(f"\n{told.database}: {told.replies} of each, over {_CONNECTIONS} connections")
        _post(web, [warm] * 2 * _CONNECTIONS)  # each thread of the web has been at work
        probe = _measure("a probe, which asks the database nothing", web, ["{}"] * told.replies)
        _measure("a reply, which chooses a slot", web, replies, probe)
        _measure("the same reply once more", web, replies, probe)
    return 0


def _replies(environment: Environment, count: int) -> list[str]:
    """The bodies of as many requests, each of a customer who was asked."""
    customers = create_customers(count)
    digits = (environment.random.choice(list(customer.slots)) for customer in customers)
    return [
        json.dumps(signed_fields(ScheduledDelivery(0, 0, customer, digit, "reply", new_id("0B"))))
        for customer, digit in zip(customers, digits, strict=True)
    ]


def _measure(name: str, web: WebProcess, bodies: list[str], probe: float = 0) -> float:
    """Print what these took; returns the CPU of the web for each, in milliseconds."""
    before, began = web.cpu_seconds(), time.monotonic()
    answers = _post(web, bodies)
    took, cpu = time.monotonic() - began, 1000 * (web.cpu_seconds() - before) / len(bodies)
    assert len(answers) == len(bodies)
    seconds = [second for _, second in answers]
    print(f"  {name}: {len(bodies) / took:.0f} a second, {cpu:.1f} ms of CPU", end="")
    print(f" ({cpu / probe:.1f} x the probe)" if probe else "", end="")
    print(f", by the clock {statistics.median(seconds):.2f} s", end="")
    print(f" (the slowest {max(seconds):.2f} s)", dict(Counter(status for status, _ in answers)))
    return cpu


def _post(web: WebProcess, bodies: list[str]) -> list[tuple[int, float]]:
    """Each one's status, and seconds by the clock."""
    host = urlsplit(web.base_url).netloc
    waiting, answers = deque(bodies), list[tuple[int, float]]()

    def post_some() -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        while True:
            try:
                body = waiting.popleft()
            except IndexError:
                return connection.close()
            began = time.monotonic()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/webhooks/inbound-sms", body, headers)
            response = connection.getresponse()
            response.read()
            answers.append((response.status, time.monotonic() - began))

    threads = [threading.Thread(target=post_some) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


if __name__ == "__main__":
    sys.exit(main())

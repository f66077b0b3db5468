"""Replies as Vonage delivers them: at a steady rate, repeated until they get a 200, and sometimes once more."""

import heapq
import hmac
import http.client
import json
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.campaigns.soak.customers import Customer
from tests.network import new_id
from tests.processes import SECRET, VIRTUAL_NUMBER

_THREADS = 24
_TIMEOUT = 15  # seconds, as Vonage
_KEPT_ALIVE = 5  # seconds: the server closes an idle connection after 10
_MOST_WAITING = 15  # seconds of replies, longer than any fault
_COPIED, _FORGED = 0.1, 0.01  # shares of the replies


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt to deliver one reply, and its answer: a line of the log. Times are monotonic seconds."""

    message_id: str
    msisdn: str
    digit: int
    kind: str  # reply, copy (delivered again after its 200) or forged
    sent_at: float
    answered_at: float
    status: int | None  # None: the connection broke, so the outcome is unknown
    retry_after: str


@dataclass(frozen=True)
class FaultPeriod:
    """An injected fault and its times: the other kind of line."""

    fault: str
    began_at: float
    ended_at: float


class EventLog:
    """A file with one JSON object a line, written while things happen."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file = path.open("w", encoding="utf-8")

    def write(self, line: DeliveryAttempt | FaultPeriod) -> None:
        """Append a line. Several threads may write at the same time."""
        with self._lock:
            self._file.write(json.dumps(asdict(line)) + "\n")

    def read(self) -> list[DeliveryAttempt | FaultPeriod]:
        """Return all lines written so far."""
        with self._lock:
            self._file.flush()
        lines = map(json.loads, self._path.read_text(encoding="utf-8").splitlines())
        return [
            FaultPeriod(**line) if "fault" in line else DeliveryAttempt(**line) for line in lines
        ]


@dataclass(order=True)
class ScheduledDelivery:
    """An attempt that is due, of a reply with the digit of one of the customer's options."""

    due_at: float
    number: int
    customer: Customer = field(compare=False)
    digit: int = field(compare=False)
    kind: str = field(compare=False)
    message_id: str = field(compare=False)


class Traffic:
    """Sends replies to `base_url`.

    A customer replies again only after the last reply got its 200, so that it is certain which reply is the last.
    """

    def __init__(
        self, base_url: str, customers: list[Customer], chance: random.Random, log: EventLog
    ) -> None:
        self._host = urlsplit(base_url).netloc
        self._chance, self._log = chance, log
        self._idle = deque(chance.sample(customers, len(customers)))
        self._waiting: list[ScheduledDelivery] = []
        self._changed = threading.Condition()
        self._open = self._number = 0
        self._ends = False

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Run the threads that deliver."""
        threads = [threading.Thread(target=self._deliver_all) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._ends = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()

    def offer(self, rate: float, seconds: float) -> int:
        """Offer replies at this rate, whether or not earlier ones have their 200; returns how many.

        Fewer are offered while 15 s of replies are open, so that a slow machine can catch up.
        """
        began_at, offered, most_open = time.monotonic(), 0, max(100, _MOST_WAITING * rate)
        while (elapsed := time.monotonic() - began_at) < seconds:
            if offered < elapsed * rate and self._open < most_open and self._offer_one():
                offered += 1
            else:
                time.sleep(0.005)
        return offered

    def finish(self, seconds: float) -> bool:
        """Wait until every reply has its 200; returns False if some have not after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def _offer_one(self) -> bool:
        """Schedule one reply; returns False if every customer still waits for a 200."""
        is_forged = self._chance.random() < _FORGED
        with self._changed:
            if not self._idle:
                return False
            customer = self._idle.popleft()
            if is_forged:
                self._idle.append(customer)
            self._schedule(
                time.monotonic(),
                customer,
                self._chance.choice(list(customer.slots)),
                "forged" if is_forged else "reply",
                new_id("0B"),
            )
        return True

    def _schedule(self, due_at: float, *what: Any) -> None:
        self._open += 1
        self._number += 1
        heapq.heappush(self._waiting, ScheduledDelivery(due_at, self._number, *what))
        self._changed.notify()

    def _deliver_all(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT)
        used_at = 0.0
        while (delivery := self._next()) is not None:
            if time.monotonic() - used_at > _KEPT_ALIVE:
                connection.close()
            attempt = _deliver(connection, delivery)
            used_at = attempt.answered_at
            self._log.write(attempt)
            self._after(delivery, attempt)
        connection.close()

    def _next(self) -> ScheduledDelivery | None:
        with self._changed:
            while not self._ends:
                wait = self._waiting[0].due_at - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._waiting)
                self._changed.wait(wait)
        return None

    def _after(self, delivery: ScheduledDelivery, attempt: DeliveryAttempt) -> None:
        """Repeat what was refused or broken after a second or so; after a 200 the customer may reply again."""
        customer, kind = delivery.customer, delivery.kind
        again = (customer, delivery.digit, kind, delivery.message_id)
        with self._changed:
            is_over = attempt.status == (401 if kind == "forged" else 200)
            if not is_over:
                self._schedule(time.monotonic() + random.uniform(0.5, 1.5), *again)
            elif kind == "reply":
                self._idle.append(customer)
                if random.random() < _COPIED:
                    copy = (customer, delivery.digit, "copy", delivery.message_id)
                    self._schedule(time.monotonic() + random.uniform(1, 5), *copy)
            self._open -= 1
            self._changed.notify_all()


def _deliver(
    connection: http.client.HTTPConnection, delivery: ScheduledDelivery
) -> DeliveryAttempt:
    body = json.dumps(signed_fields(delivery))
    sent_at = time.monotonic()
    status, retry_after = None, ""
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/webhooks/inbound-sms", body, headers)
        response = connection.getresponse()
        response.read()
        status, retry_after = response.status, response.headers.get("Retry-After", "")
    except (OSError, http.client.HTTPException):
        connection.close()
    return DeliveryAttempt(
        message_id=delivery.message_id,
        msisdn=delivery.customer.msisdn,
        digit=delivery.digit,
        kind=delivery.kind,
        sent_at=sent_at,
        answered_at=time.monotonic(),
        status=status,
        retry_after=retry_after,
    )


def signed_fields(delivery: ScheduledDelivery) -> dict[str, str]:
    """Return a reply as Vonage sends it, signed; a forged one is signed with another secret."""
    now = datetime.now(UTC)
    fields = {
        "api-key": "abcd1234",
        "msisdn": delivery.customer.msisdn,
        "to": VIRTUAL_NUMBER,
        "messageId": delivery.message_id,
        "text": str(delivery.digit),
        "type": "text",
        "keyword": str(delivery.digit),
        "message-timestamp": now.strftime("%Y-%m-%d %H:%M:%S"),
        "timestamp": str(int(now.timestamp())),
        "nonce": delivery.message_id,
    }
    secret = SECRET if delivery.kind != "forged" else "a guess"
    base = "".join(f"&{name}={value}" for name, value in sorted(fields.items()))
    return fields | {"sig": hmac.digest(secret.encode(), base.encode(), "sha256").hex()}

"""The whole loop with real processes: a manifest, 200 notifications, 200 replies, and their answers.

What must come of each reply is written down here by hand, and counted at the network: nothing of the rule is asked.
"""

import csv
import datetime as dt
import math
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.fake_vonage import FakeVonage, post_inbound
from tests.flow.conftest import url_of
from tests.network import new_id
from tests.processes import ROOT, VIRTUAL_NUMBER, environment, running, wait_for

# Runs commands at another moment: the seconds since 1970, then each command in one argument.
AT_ANOTHER_TIME = """
import sys, django, time_machine
from django.core.management import call_command
with time_machine.travel(float(sys.argv[1])):
    django.setup()
    for line in sys.argv[2:]:
        call_command(*line.split())
"""

#: What each text is known by.
TEXTS = {
    "asked": "your parcel",
    "kept": "stays as planned",
    "moved": "is moved to",
    "already": "is already planned",
    "too late": "too late",
    "options again": "one number only",
    "out": "no more texts",
    "in": "texts again",
    "help": "we text",
    "cancel asked": "To cancel parcel",
}

Round = str | tuple[str, ...]  # what a customer texts before the next answer comes


@dataclass(frozen=True)
class Story:
    """A customer's texts, the parcels' final options (0 kept, 1 the next day, 2 post office), and the answers."""

    rounds: Sequence[Round]
    ends: Sequence[int]
    texts: Sequence[str] = ()
    copies: int = 1  # how often the network delivers each text


def one(*rounds: Round, end: int, texts: str = "", copies: int = 1) -> Story:
    return Story(rounds, [end], texts.split(", ") if texts else [], copies)


ONE_PARCEL = [
    one(end=0),
    one("1", end=0, texts="kept"),
    one("2", end=1, texts="moved"),
    one("3", end=2, texts="moved"),
    one("\N{FULLWIDTH DIGIT ONE}", end=0, texts="kept"),
    one("1️⃣", end=0, texts="kept"),
    one("#1", end=0, texts="kept"),
    one(" (2) ", end=1, texts="moved"),
    one("two", end=1, texts="moved"),
    one("2 please", end=1, texts="moved"),
    one("2!!", end=1, texts="moved"),
    one("٢", end=1, texts="moved"),
    one("Wednesday", end=1, texts="moved"),
    one("option 3", end=2, texts="moved"),
    one("3.", end=2, texts="moved"),
    one("post office", end=2, texts="moved"),
    one("2", end=1, texts="moved", copies=3),
    one("2", "3", end=2, texts="moved, moved"),
    one("3", "1", end=0, texts="moved, moved"),
    one("2", "2", end=1, texts="moved, already"),
    one("1", "1", end=0, texts="kept, already"),
    one("2", "ok thanks", end=1, texts="moved"),
    one("ok thanks", "1", end=0, texts="options again, kept"),
    one("when does it come??", "2", end=1, texts="options again, moved"),
    one("1 or 2", "3", end=2, texts="options again, moved"),
    one("hello", "what is this", end=0, texts="options again"),
    one("2pm", end=0, texts="options again"),
    one("not 2", end=0, texts="options again"),
    one("STOP", "2", end=1, texts="out"),
    one("Unsubscribe", end=0, texts="out"),
    one("STOP", "START", "3", end=2, texts="out, in, moved"),
    one("stop 2", end=0),
    one("HELP", "2", end=1, texts="help, moved"),
    one("cancel", "3", end=2, texts="cancel asked, moved"),
]
TWO_PARCELS = [
    Story([("2", "6")], [1, 2], ["moved", "moved"]),
    Story(["5", "1"], [0, 1], ["moved", "kept"]),
    Story(["4", "2", "3"], [2, 0], ["kept", "moved", "moved"]),
    Story(["post office", "5"], [0, 1], ["options again", "moved"]),
    Story(["STOP"], [0, 0], ["out"]),
    Story(["7", "6"], [0, 2], ["options again", "moved"]),
]
TOO_LATE = [
    one("2", end=0, texts="too late"),
    one("3", "1", end=0, texts="too late, too late"),
    one(end=0),
]


@dataclass(frozen=True)
class Calendar:
    """Deliveries of `day` can still be changed; the cut-off of those of `late_day` has passed within the last hour."""

    day: dt.date  # a Tuesday
    late_day: dt.date
    cutoff_hours: int
    late_asked_at: dt.datetime

    @classmethod
    def at(cls, now: dt.datetime) -> "Calendar":
        late_day = now.date() + dt.timedelta(days=1)
        soon = [now.date() + dt.timedelta(days=days) for days in range(3, 10)]
        starts_at = dt.datetime.combine(late_day, dt.time(9), dt.UTC)
        cutoff_hours = math.floor((starts_at - now) / dt.timedelta(hours=1)) + 1
        return cls(
            day=next(day for day in soon if day.weekday() == 1),
            late_day=late_day,
            cutoff_hours=cutoff_hours,
            late_asked_at=starts_at - dt.timedelta(hours=cutoff_hours + 2),
        )


@dataclass(frozen=True)
class Customer:
    msisdn: str
    story: Story
    references: Sequence[str]
    day: dt.date

    def slot(self, end: int) -> tuple[str, str]:
        """Return the place and the date."""
        day = self.day + dt.timedelta(days=end == 1)
        return ("post_office" if end == 2 else "door", str(day))

    def expected(self) -> Counter[str]:
        return Counter([*self.story.texts, *["asked"] * len(self.references)])


def customers(day: dt.date, late_day: dt.date) -> list[Customer]:
    """Return the customers of 200 bookings."""
    numbers, parcels = count(447700900101), count(1)

    def customer(story: Story, day: dt.date) -> Customer:
        references = [f"P-{next(parcels):04}" for _ in story.ends]
        return Customer(str(next(numbers)), story, references, day)

    singles, pairs, late = cycle(ONE_PARCEL), cycle(TWO_PARCELS), cycle(TOO_LATE)
    found = [customer(next(late), late_day) for _ in range(18)]
    found += [customer(next(pairs), day) for _ in range(20)]
    return found + [customer(next(singles), day) for _ in range(142)]


def write_manifest(path: Path, everyone: list[Customer]) -> None:
    ways = cycle(["+{0}", "0{1}", "+44 {1}", "0044 {1}"])
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["reference", "customer_name", "phone", "date", "window_start", "window_end"])
        for customer in everyone:
            phone = next(ways).format(customer.msisdn, customer.msisdn[2:])
            for reference in customer.references:
                rows.writerow([reference, "Someone", phone, customer.day, "09:00", "12:00"])


@pytest.fixture
def database(tmp_path) -> Iterator[str]:
    """Return the URL of an empty database, of the kind that the other tests use."""
    if connection.vendor == "sqlite":
        yield url_of(str(tmp_path / "loop.sqlite3"))
        return
    name = f"loop_{new_id('').lower()}"
    server = url_of(str(connection.settings_dict["NAME"]))
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield url_of(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Loop:
    """The running processes, and their state as seen from outside."""

    def __init__(self, network: FakeVonage, database: str, **more: str) -> None:
        self.network, self.database = network, database
        self.env = environment(network, database) | {"TIME_ZONE": "UTC"} | more

    def manage(self, *arguments: str) -> str:
        """Run a command that must succeed."""
        return self._run("manage.py", *arguments)

    def manage_at(self, moment: dt.datetime, *commands: str) -> str:
        env = {"DJANGO_SETTINGS_MODULE": "delivery_sms.settings"}
        return self._run("-c", AT_ANOTHER_TIME, str(moment.timestamp()), *commands, **env)

    def _run(self, *arguments: str, **env: str) -> str:
        told = subprocess.run(  # what it says is in the failure
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    @contextmanager
    def web(self, log: Path) -> Iterator[str]:
        """Start a web server without sender, and return the address that it prints."""
        with running("serve", "--no-sender", "--port", "0", env=self.env, log=log):
            wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))
            base_url = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())[0]
            self.network.receipts_to = base_url
            yield base_url

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        path = self.database.removeprefix("sqlite:///")
        driver: Any = sqlite3 if path != self.database else psycopg
        with closing(driver.connect(path)) as database:
            return [tuple(row) for row in database.execute(sql).fetchall()]

    def wait_until_idle(self) -> None:
        """Wait until every queued text is delivered. Call it only after something was queued."""
        sql = "SELECT state, count(*) FROM bookings_outboundmessage GROUP BY state"
        wait_for(
            lambda: {state for state, _ in self.rows(sql)} == {"delivered"}, seconds=60, every=0.3
        )


def texts_of(story: Story, number: int) -> tuple[str, ...]:
    if number >= len(story.rounds):
        return ()
    said = story.rounds[number]
    return (said,) if isinstance(said, str) else said


def deliver(base_url: str, fields: dict[str, str]) -> None:
    """Post one text until it is accepted: a busy database answers 503, and Vonage repeats the text."""
    secret = settings.VONAGE_SIGNATURE_SECRETS[0]

    def is_taken() -> bool:
        status = post_inbound(base_url, to=VIRTUAL_NUMBER, secret=secret, **fields)
        assert status in {200, 503}
        return status == 200

    wait_for(is_taken, seconds=60)


def deliver_round(base_url: str, everyone: list[Customer], number: int) -> int:
    """Post the next text of every customer who has one, many at a time; returns the number of texts."""
    ways = cycle(["json", "form", "get"])
    told = [
        {"msisdn": customer.msisdn, "text": text, "message_id": message_id, "sent_as": next(ways)}
        for customer in everyone
        for text in texts_of(customer.story, number)
        for message_id in [new_id("0B")] * customer.story.copies
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda fields: deliver(base_url, fields), told))
    return len(told)


def deliver_all(loop: Loop, base_url: str, everyone: list[Customer]) -> int:
    """Post all rounds, each after the answers to the one before; returns the number of texts."""
    told = 0
    for number in range(3):
        told += deliver_round(base_url, everyone, number)
        loop.wait_until_idle()
    return told


def known_as(text: str) -> str:
    found = [name for name, words in TEXTS.items() if words in text]
    assert len(found) == 1, text
    return found[0]


def test_last_valid_reply_decides_each_booking_and_is_acknowledged_once(database, tmp_path):
    calendar = Calendar.at(dt.datetime.now(dt.UTC))
    everyone = customers(calendar.day, calendar.late_day)
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, everyone)

    secret = {"secret": settings.VONAGE_SIGNATURE_SECRETS[0]}
    with FakeVonage(webhook=secret) as network:
        loop = Loop(network, database, CHANGE_CUTOFF_HOURS=str(calendar.cutoff_hours))
        loop.manage("migrate", "-v0")
        with loop.web(tmp_path / "web") as base_url:
            loop.manage_at(
                calendar.late_asked_at,
                f"import_bookings {manifest}",
                f"send_notifications --date {calendar.late_day}",
                "run_outbox --drain",
            )
            with running("run_outbox", env=loop.env, log=tmp_path / "sender"):
                loop.manage("send_notifications", "--date", str(calendar.day))
                loop.wait_until_idle()
                assert len(network.posts) == 200
                assert deliver_all(loop, base_url, everyone) >= 200
        assert set(network.receipt_statuses) <= {200, 503}
        assert loop.manage("check_invariants") == ""

    check_slots(loop, everyone)
    check_texts(network, everyone)


def check_slots(loop: Loop, everyone: list[Customer]) -> None:
    """Check that every parcel is in its expected slot."""
    found = loop.rows(
        "SELECT reference, place, date FROM bookings_booking"
        " JOIN bookings_slot ON bookings_slot.id = slot_id"
    )
    assert {reference: (place, str(date)) for reference, place, date in found} == {
        reference: customer.slot(end)
        for customer in everyone
        for reference, end in zip(customer.references, customer.story.ends, strict=True)
    }


def check_texts(network: FakeVonage, everyone: list[Customer]) -> None:
    """Check that every customer got the expected texts, each once."""
    got: dict[str, list[str]] = {}
    for post in network.posts:
        assert post.form["from"] == VIRTUAL_NUMBER
        assert network.count(post.client_ref) == 1
        got.setdefault(post.form["to"], []).append(post.form["text"])
    assert {msisdn: Counter(map(known_as, texts)) for msisdn, texts in got.items()} == {
        customer.msisdn: customer.expected() for customer in everyone
    }
    for customer in everyone:
        if "out" not in customer.story.texts:
            check_last_word(customer, got[customer.msisdn])


def check_last_word(customer: Customer, texts: list[str]) -> None:
    """Check that the last text that names a parcel's slot is true."""
    for reference, end in zip(customer.references, customer.story.ends, strict=True):
        where = rf"{reference}\b.*?(the post office, )?\w{{3}} (\d+ \w{{3}}) \d\d:\d\d"
        told = [
            found
            for text in texts
            if known_as(text) in {"asked", "kept", "moved", "already"}
            and (found := re.search(where, text))
        ]
        place, date = customer.slot(end)
        assert bool(told[-1][1]) == (place == "post_office"), told[-1][0]
        assert told[-1][2] == f"{dt.date.fromisoformat(date):%-d %b}", told[-1][0]

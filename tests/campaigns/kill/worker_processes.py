"""Processes to be killed, by the hundred: Django is loaded once, and each is forked from there in milliseconds.

What runs in them is the product's own command, in a process of its own with connections of its own. Beside it there
are a desk that books and notifies, and two senders with a fault: one that some texts kill, and a naive one.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from tests.processes import ROOT

#: Texts that kill the `poisonable` sender: as soon as it takes them up, and during the call.
POISON, POISONED_CALL = "poison", "fatal call"
#: The gateway that only the `naive` sender sends for.
NAIVE = "naive"
#: And not by each child in its first call.
_LOADED_ONCE = ("vonage", "bookings.gateways.vonage", "bookings.management.commands.run_outbox")


class WorkerProcesses:
    """The campaign's side: start a process in a role, and kill, freeze or thaw it by its id."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, role: str) -> int:
        """Its process id."""
        return int(self._ask(f"start {role}"))

    def kill(self, pid: int) -> None:
        """SIGKILL; it is gone on return."""
        os.kill(pid, signal.SIGKILL)
        self._ask(f"reap {pid}")

    def is_alive(self, pid: int) -> bool:
        return self._ask(f"look {pid}") == "alive"

    def _ask(self, line: str) -> str:
        ask, answer = self._process.stdin, self._process.stdout
        assert ask is not None
        assert answer is not None
        ask.write(f"{line}\n")
        ask.flush()
        return answer.readline().strip()


@contextmanager
def worker_processes(env: dict[str, str], log: Path) -> Iterator[WorkerProcesses]:
    """Everything that was started in it is dead at the end."""
    with ExitStack() as closing:
        process = closing.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.campaigns.kill.worker_processes"],
                cwd=ROOT,
                env=env | {"DJANGO_SETTINGS_MODULE": "delivery_sms.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=closing.enter_context(log.open("wb")),
                text=True,
            )
        )  # leaving it closes its input, at which it ends
        yield WorkerProcesses(process)


def _send() -> None:
    from django.core.management import call_command

    call_command("run_outbox", "--threads", "4")


def _drain() -> None:
    from django.core.management import call_command

    call_command("run_outbox", "--drain")


class _Deadly:
    """A gateway in which some texts kill the process."""

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    def send(self, sms: Any) -> Any:
        if POISONED_CALL in sms.text:
            os._exit(1)
        return self._carrier.send(sms)


def _send_and_die() -> None:
    from bookings.management.commands import run_outbox
    from bookings.outbox.sending import hand_over

    def fatal(message: Any, carrier: Any) -> None:
        if POISON in message.text:
            os._exit(1)
        deadly: Any = _Deadly(carrier)
        hand_over(message, deadly)

    vars(run_outbox)["hand_over"] = fatal
    _send()


def _send_naively() -> None:
    """Claims by lease, and sends again what has no answer: as queues do whose jobs may be repeated."""
    import requests
    from django.conf import settings
    from django.db.models import F, Q
    from django.db.models.functions import Now

    from bookings.models import OutboundMessage
    from bookings.outbox.claiming import LEASE

    mine = OutboundMessage.objects.filter(gateway=NAIVE)
    while True:
        due = mine.filter(Q(state="queued") | Q(state="sending", lease_until__lte=Now()))
        message = due.order_by("pk").first()
        if message is None:
            time.sleep(0.01)
            continue
        seen = due.filter(pk=message.pk, claims=message.claims)
        if not seen.update(
            state="sending", token="naive", lease_until=Now() + LEASE, claims=F("claims") + 1
        ):
            continue
        requests.post(
            f"https://{settings.VONAGE_REST_HOST}/sms/json",
            {
                "from": message.sender,
                "to": message.msisdn,
                "text": message.text,
                "client-ref": f"{message.ref}-1",
            },
            auth=(settings.VONAGE_API_KEY, settings.VONAGE_API_SECRET),
            timeout=10,
        )
        mine.filter(pk=message.pk).update(state="submitted")


def _book_and_notify() -> None:
    """A dispatcher who fills in the notify form again and again."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    from bookings.models import Slot

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get())
    slot = Slot.objects.earliest("pk")
    for number in count(1):
        mark = f"{os.getpid()}-{number}"
        client.post(
            "/notify",
            {
                "number": f"+4472{os.getpid() % 10_000:04}{number:04}",
                "slot": str(slot.pk),
                "nonce": f"desk-{mark}".ljust(20, "-"),
                "reference": f"D-{mark}",
            },
        )
        connection.close()
        time.sleep(0.5)  # less than the senders can take


ROLES: dict[str, Callable[[], None]] = {
    "sender": _send,
    "drain": _drain,
    "poisonable": _send_and_die,
    "naive": _send_naively,
    "desk": _book_and_notify,
}


def _fork(role: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what it says goes into the log, not to the campaign
    try:
        ROLES[role]()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    """Serve one line at a time, until the campaign closes our input; then kill what still lives."""
    import django

    django.setup()
    for name in _LOADED_ONCE:
        import_module(name)
    alive: set[int] = set()
    for line in sys.stdin:
        verb, _, what = line.strip().partition(" ")
        if verb == "start":
            pid = _fork(what)
            alive.add(pid)
            answer = str(pid)
        else:
            pid = int(what)
            if pid in alive and os.waitpid(pid, os.WNOHANG if verb == "look" else 0)[0]:
                alive.remove(pid)
            answer = "alive" if pid in alive else "dead"
        print(answer, flush=True)  # the campaign reads it
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()

"""Processes to be killed by the hundred: Django is loaded once, and each process is forked from there in milliseconds.

They run the product's own commands, with database connections of their own. Other roles are a dispatcher who books and
notifies, and two faulty senders: one that some texts kill, and a naive one.
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

#: Texts that kill the `poisonable` sender when it claims them, and during the call.
POISON, POISONED_CALL = "poison", "fatal call"
#: The gateway that only the `naive` sender sends for.
NAIVE = "naive"
#: Loaded before the forks, so that no child has to.
_LOADED_ONCE = ("vonage", "bookings.gateways.vonage", "bookings.management.commands.run_outbox")


class WorkerProcesses:
    """The campaign's side: starts a process in a role and kills it by its id."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, role: str) -> int:
        """Start a process; returns its id."""
        return int(self._ask(f"start {role}"))

    def kill(self, pid: int) -> None:
        """Kill it with SIGKILL; it has ended on return."""
        os.kill(pid, signal.SIGKILL)
        self._ask(f"reap {pid}")

    def is_alive(self, pid: int) -> bool:
        """Return True if the process still runs."""
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
    """Start the process that forks the others; at the end all of them are killed."""
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
        )  # it ends when its input is closed
        yield WorkerProcesses(process)


def _send() -> None:
    from django.core.management import call_command

    call_command("run_outbox", "--threads", "4")


def _drain() -> None:
    from django.core.management import call_command

    call_command("run_outbox", "--drain")


class _DeadlyGateway:
    """A gateway that ends the process at some texts."""

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    def send(self, sms: Any) -> Any:
        """Send the text, or end the process."""
        if POISONED_CALL in sms.text:
            os._exit(1)
        return self._carrier.send(sms)


def _send_and_die() -> None:
    from bookings.operations import worker
    from bookings.outbox.sending import hand_over

    def hand_over_or_die(message: Any, carrier: Any) -> None:
        if POISON in message.text:
            os._exit(1)
        gateway: Any = _DeadlyGateway(carrier)
        hand_over(message, gateway)

    vars(worker)["hand_over"] = hand_over_or_die
    _send()


def _send_naively() -> None:
    """Claim by lease and send again what has no answer, as job queues with retries do."""
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
    """Submit the notify form again and again, as a dispatcher does."""
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
                "nonce": f"form-{mark}".ljust(20, "-"),
                "reference": f"D-{mark}",
            },
        )
        connection.close()
        time.sleep(0.5)  # slower than the senders


ROLES: dict[str, Callable[[], None]] = {
    "sender": _send,
    "drain": _drain,
    "poisonable": _send_and_die,
    "naive": _send_naively,
    "dispatcher": _book_and_notify,
}


def _fork(role: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # output goes into the log; the pipe to the campaign is for answers
    try:
        ROLES[role]()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    """Answer the campaign line by line until it closes our input; then kill all processes that are left."""
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

"""Web server and sender in one process: its end, and failures of its sender."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import requests
from django.db import connection

from bookings.models import MessageState
from tests.fake_vonage import FakeVonage, post_inbound
from tests.flow.conftest import queued, url_of
from tests.processes import ROOT, SECRET, VIRTUAL_NUMBER, environment, wait_for

__all__ = ["queued"]

pytestmark = pytest.mark.django_db(transaction=True)

#: `manage.py serve` with something of it replaced first, on the terminal that it has inherited.
SERVE = """
import os, signal, django
os.close(os.open(os.ttyname(0), os.O_RDWR))  # from now on the controlling one: a Ctrl-C typed there counts
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
from django.core.management import execute_from_command_line
django.setup()
from bookings.management.commands import serve
from bookings.operations import worker
{patch}
execute_from_command_line(["manage.py", "serve", "--port", "0"])
"""
CLAIM_FAILS_ONCE = """
def fail(most):
    worker.claim = claim
    raise ZeroDivisionError("a bug of ours")
claim, worker.claim = worker.claim, fail
"""
WEB_SERVER_FAILS = """
def fail(server, now):
    raise ZeroDivisionError("a bug of ours")
serve.web_server.Server.maintenance = fail
"""
TELL_LIMITS = """
from django.db import connection
def limit():
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return cursor.fetchone()[0]
def tell(most):
    worker.claim = claim
    print("limit of the sender:", limit(), flush=True)
    return claim(most)
claim, worker.claim = worker.claim, tell
serve.web_server.Server.maintenance = lambda self, now: print("limit of the web:", limit(), flush=True)
"""


class Running:
    """`serve` with its sender, at the tests' own database and on a terminal of its own."""

    def __init__(self, env, patch=""):
        terminal, theirs = pty.openpty()
        self.terminal = terminal
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(patch=patch)],
            cwd=ROOT,
            env=env | {"DJANGO_SETTINGS_MODULE": "delivery_sms.settings"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()
        self.base_url = self.wait_for_text(r"Open (http://127\.0\.0\.1:\d+)/")

    def _read(self):
        with suppress(OSError):  # the terminal's other end is closed
            while text := os.read(self.terminal, 65536):
                self.text += text.decode()

    def wait_for_text(self, pattern):
        wait_for(lambda: re.findall(pattern, self.text))
        return re.findall(pattern, self.text)[0]

    def answers(self):
        return requests.get(f"{self.base_url}/healthz", timeout=20).ok

    def type(self, keys):
        os.write(self.terminal, keys)

    def session(self):
        """Return the ids of the living processes in this process's session."""
        command = ["ps", "-o", "pid=,stat=", "-s", str(self.process.pid)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [line.split() for line in listed.stdout.splitlines()]
        return [int(pid) for pid, state in rows if not state.startswith("Z")]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        print(self.text)  # shown if the test fails
        os.close(self.terminal)


@pytest.fixture
def network():
    with FakeVonage() as network:
        yield network


@pytest.fixture
def env(network):
    return environment(network, url_of(str(connection.settings_dict["NAME"])))


@pytest.fixture
def start(env):
    """Start the process; it listens by then. `patch` is Python code, `changes` are for its environment."""
    started = []

    def _start(patch="", **changes):
        started.append(Running(env | changes, patch))
        return started[-1]

    yield _start
    for running in started:
        running.close()


def state_of(message):
    message.refresh_from_db()
    return message.state


def test_ctrl_c_lets_the_call_and_the_request_under_way_finish(start, network, queued):
    running, answered = start(), []
    network.set_mode("slow:2")
    message = queued()
    wait_for(network.count)
    reply = {"msisdn": "447700910001", "to": VIRTUAL_NUMBER, "text": "2", "secret": SECRET}
    request = threading.Thread(
        target=lambda: answered.append(post_inbound(running.base_url, **reply))
    )
    request.start()
    running.type(b"\x03")
    assert running.process.wait(15) == 0
    request.join()
    assert answered == [200]
    assert (state_of(message), network.count()) == (MessageState.SUBMITTED, 1)
    assert running.session() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_web_and_sender(start, number):
    running = start()
    running.process.send_signal(number)
    assert running.process.wait(15) == 0
    assert running.session() == []


def test_killed_process_leaves_nothing_behind_and_the_next_goes_on_sending(start, network, queued):
    running = start()
    assert running.session() == [running.process.pid]
    network.set_mode("slow:20")
    queued()
    wait_for(network.count)
    running.process.kill()
    running.process.wait(10)
    assert running.session() == []
    network.set_mode("ok")
    later = queued()
    start()
    wait_for(lambda: state_of(later) == MessageState.SUBMITTED)


def test_second_ctrl_c_ends_a_stuck_process_at_once(start, network, queued):
    running = start()
    network.set_mode("slow:20")
    queued()
    wait_for(network.count)
    running.type(b"\x03")
    time.sleep(1)
    assert running.process.poll() is None
    running.type(b"\x03")
    assert running.process.wait(2) == -signal.SIGINT
    assert running.session() == []


def test_call_that_does_not_end_in_time_is_cut_off(start, network, queued):
    running = start("serve.STOP_SECONDS = 2")
    network.set_mode("slow:20")
    queued()
    wait_for(network.count)
    told_at = time.monotonic()
    running.process.terminate()
    assert running.process.wait(15) == 0
    assert 2 <= time.monotonic() - told_at < 4
    assert "they took over 2 s" in running.text


def test_sender_that_fails_is_started_again_and_the_web_goes_on(start, queued):
    message = queued()
    running = start(CLAIM_FAILS_ONCE)
    running.wait_for_text("The sender failed. It is started again in 2 s")
    assert "a bug of ours" in running.text
    assert running.answers()
    assert state_of(message) == MessageState.QUEUED
    wait_for(lambda: state_of(message) == MessageState.SUBMITTED)
    assert running.answers()


def test_web_server_that_fails_ends_the_process(start):
    """A process manager restarts an ended process; one without a web server would look alive."""
    running = start(WEB_SERVER_FAILS)
    assert running.process.wait(15) == 1
    assert "a bug of ours" in running.text
    assert "The web server has failed" in running.text


def test_last_receipts_of_the_simulator_arrive_before_the_end(start, queued):
    running = start(SMS_GATEWAY="simulator", ALLOW_SIMULATOR="True")
    message = queued(gateway="simulator")
    wait_for(lambda: state_of(message) == MessageState.SUBMITTED)
    running.process.terminate()
    assert running.process.wait(15) == 0
    assert state_of(message) == MessageState.DELIVERED


@pytest.mark.database
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such limits")
def test_time_limits_are_for_the_web_and_not_for_the_sender(start):
    running = start(TELL_LIMITS)
    assert running.wait_for_text(r"limit of the web: (\w+)") == "4s"
    assert running.wait_for_text(r"limit of the sender: (\w+)") == "0"

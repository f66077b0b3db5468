"""Web and sender start and end as one, however they are ended."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR = """
import sys
from bookings.management.supervisor import Child, Supervisor
codes = enumerate(sys.argv[1:])
Supervisor([Child(f"c{n}", [sys.executable, "-c", code]) for n, code in codes]).run()
"""
SLEEPER = "import os, time; print('pid', os.getpid(), 'up', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
ON_TERM = "import signal; signal.signal(signal.SIGTERM, lambda *a: print('in flight done')); "
POLITE = ON_TERM + SLEEPER.replace("time.sleep(60)", "signal.pause()")


class Running:
    """A supervisor of `children` (Python code), as a process on a terminal of its own."""

    def __init__(self, *children):
        terminal, theirs = pty.openpty()
        self.terminal = terminal
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *children],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # there are no threads here
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, pattern, times=1):
        until = time.monotonic() + 10
        while len(re.findall(pattern, self.text)) < times:
            assert time.monotonic() < until, f"no {pattern} in {self.text}"
            self.text += os.read(self.terminal, 65536).decode()
        return re.findall(pattern, self.text)

    def pids(self, count):
        return [int(pid) for pid in self.read_until(r"pid (\d+) up", count)]

    def read_rest(self):
        with suppress(OSError):  # a terminal whose other end is closed
            while text := os.read(self.terminal, 65536):
                self.text += text.decode()
        self.process.wait(10)
        return self.text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.terminal)


@pytest.fixture
def run():
    started = []

    def _run(*children):
        started.append(Running(*children))
        return started[-1]

    yield _run
    for running in started:
        running.close()


def test_every_line_says_whose_it_is(run):
    running = run(SLEEPER, SLEEPER)
    running.pids(2)
    assert re.findall(r"c0     \| pid", running.text)
    assert re.findall(r"c1     \| pid", running.text)


def test_ctrl_c_on_the_terminal_ends_all_and_lets_them_finish(run):
    running = run(POLITE, POLITE)
    pids = running.pids(2)
    os.write(running.terminal, b"\x03")
    assert running.read_rest().count("in flight done") == 2
    assert running.process.returncode == 0
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_ends_all(run, number):
    running = run(SLEEPER, SLEEPER)
    pids = running.pids(2)
    running.process.send_signal(number)
    running.read_rest()
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_killing_the_supervisor_leaves_nothing_behind(run):
    running = run(SLEEPER, SLEEPER)
    pids = running.pids(2)
    running.process.kill()
    running.process.wait(10)
    assert all(gone(pid) for pid in pids)


def test_a_second_ctrl_c_kills_what_does_not_end(run):
    running = run(DEAF)
    [pid] = running.pids(1)
    os.write(running.terminal, b"\x03")
    time.sleep(0.3)
    assert not gone(pid, within=0)
    os.write(running.terminal, b"\x03")
    running.read_rest()
    assert gone(pid)


def test_a_child_that_crashes_is_started_again_and_the_others_stay(run):
    running = run("raise SystemExit('no luck')", SLEEPER)
    assert running.read_until(r"ended with 1; it is started again in (\d+) s", 2) == ["2", "4"]
    assert running.text.count("no luck") == 2
    assert len(running.pids(1)) == 1


def gone(pid: int, within: float = 5) -> bool:
    """Whether the process has ended, or is dead and not yet collected, in so many seconds."""
    until = time.monotonic() + within
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)


def _take_terminal():
    """Make the inherited terminal the controlling one, so that a Ctrl-C typed there counts, and a hang-up too."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup

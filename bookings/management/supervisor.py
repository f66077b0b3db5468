"""Several processes as one: started together, heard together, ended together."""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

STOP_SECONDS = 10
FIRST_DELAY = 2
LAST_DELAY = 30
HEALTHY_SECONDS = 60
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process of ours: its command, and the file number it inherits, if any."""

    name: str
    command: Sequence[str]
    inherits: int | None = None
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0
    start_at: float = 0
    delay: float = FIRST_DELAY
    unfinished_line: bytes = b""

    def start(self) -> int:
        """In a session of its own, which Ctrl-C does not reach; returns its output's number."""
        parent = os.getpid()
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  # our own commands
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            pass_fds=() if self.inherits is None else (self.inherits,),
            preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509  # there are no threads here
        )
        assert self.process.stdout  # noqa: S101  # it is a pipe: for mypy
        return self.process.stdout.fileno()

    def hear(self, text: bytes) -> None:
        """Print the whole lines that came; with b"" (it has ended) what is left."""
        *lines, self.unfinished_line = (self.unfinished_line + text).split(b"\n")
        if not text and self.unfinished_line:
            lines, self.unfinished_line = [self.unfinished_line], b""
        for line in lines:
            self.say(line)

    def say(self, line: bytes) -> None:
        try:
            sys.stdout.buffer.write(f"{self.name:<7}| ".encode() + line + b"\n")
            sys.stdout.buffer.flush()
        except OSError:
            pass  # nobody listens any more; the children must still be ended

    def signal(self, number: int) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def bury(self) -> int:
        """Plan its next start: soon, and later each time if it does not stay up. Its exit code."""
        assert self.process  # noqa: S101  # it was started: for mypy
        with self.process as process:
            code = process.wait()
        self.process = None
        if time.monotonic() - self.started_at > HEALTHY_SECONDS:
            self.delay = FIRST_DELAY
        self.start_at = time.monotonic() + self.delay
        self.delay = min(self.delay * 2, LAST_DELAY)
        return code


class Supervisor:
    """Runs its children until it is told to end, and starts again one that ends by itself.

    One thread: so a fork is safe, and Linux ends the children when this thread is killed.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = children
        self.selector = selectors.DefaultSelector()
        self.stop_by: float | None = None

    def run(self) -> None:
        """Until SIGINT, SIGTERM or SIGHUP; who lives 10 s later, or at a second one, is killed."""
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(signal.SIGHUP, self._stop)
        while self.stop_by is None:
            self._start_due()
            self._listen()
        self._signal(signal.SIGTERM)
        while any(child.process for child in self.children):
            self._listen()
            if time.monotonic() > self.stop_by:
                self._signal(signal.SIGKILL)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_by = time.monotonic() + (STOP_SECONDS if self.stop_by is None else 0)

    def _signal(self, number: int) -> None:
        for child in self.children:
            child.signal(number)

    def _start_due(self) -> None:
        for child in self.children:
            if child.process is None and time.monotonic() >= child.start_at:
                self.selector.register(child.start(), selectors.EVENT_READ, child)

    def _listen(self) -> None:
        for key, _ in self.selector.select(timeout=0.2):
            child: Child = key.data
            text = os.read(key.fd, 65536)
            child.hear(text)
            if not text:
                self.selector.unregister(key.fd)
                self._bury(child)

    def _bury(self, child: Child) -> None:
        code = child.bury()
        if self.stop_by is None:
            wait = round(child.start_at - time.monotonic())
            child.say(f"ended with {code}; it is started again in {wait} s".encode())


def _die_with(parent: int) -> None:
    """Between fork and exec: let Linux send us SIGTERM when our parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

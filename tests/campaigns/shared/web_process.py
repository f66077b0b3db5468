"""The product's web server as a process that a campaign can kill, freeze and start again."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.processes import ROOT, wait_for

_START_SECONDS, _STOP_SECONDS = 60, 30


class WebProcess:
    """`manage.py serve` at a free port, with a sender in it if it `sends`.

    The listening socket belongs to this process, as it would to systemd: while the server is down, callers wait
    instead of being refused, and the next server answers at the same address.
    """

    def __init__(self, variables: Mapping[str, str], log: Path, *, sends: bool) -> None:
        self._variables, self._log = variables, log
        self._what = ["serve"] if sends else ["serve", "--no-sender"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.start()
        wait_for(self._answers, seconds=_START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGTERM)
        self._listener.close()

    @property
    def pid(self) -> int:
        """The process id of the server that runs, or ran last."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns before it answers."""
        number = self._listener.fileno()
        command = [sys.executable, "manage.py", *self._what, "--socket", str(number)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._variables, stdout=log, stderr=log, pass_fds=[number]
            )

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. Nothing happens if it has ended."""
        os.kill(self.pid, number)

    def stop(self, number: signal.Signals) -> None:
        """End it by this signal; it has ended on return. Raises TimeoutExpired after 30 s."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait(_STOP_SECONDS)

    def memory(self) -> float:
        """Return its resident memory in kB, 0 where there is no /proc."""
        return memory_of(self.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used. Linux only."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.base_url}/healthz", timeout=2).ok
        return False


def memory_of(pid: int) -> float:
    """Return the resident memory of a process in kB, 0 if it has ended or there is no /proc."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        held = re.search(r"VmRSS:\s+(\d+)", status)
        return float(held[1]) if held else 0
    return 0

"""`manage.py serve` as a real process: its address, its socket, its end."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests

from tests.processes import ROOT

#: `manage.py` as started by a terminal, whatever the tests are started by, or by nohup.
MANAGE = "import manage, signal; signal.signal(signal.SIGHUP, signal.{}); manage.main()"


@contextmanager
def serve(*args, hangups="SIG_DFL", **options):
    server = subprocess.Popen(
        [sys.executable, "-c", MANAGE.format(hangups), "serve", "--no-sender", *args],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    with server:
        try:
            yield server
        finally:
            server.terminate()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answers(base_url):
    return requests.get(f"{base_url}/healthz", timeout=30).content == b"ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_server_says_where_it_is_and_how_to_stop_it_and_ends_when_told(number):
    with serve("--port", "0") as server:
        line = server.stdout.readline()
        [address] = re.findall(r"^Open (http://127\.0\.0\.1:\d+)/$", line)
        assert server.stdout.readline() == "Press Ctrl-C to stop.\n"
        assert answers(address)
        server.send_signal(number)
        rest, _ = server.communicate(timeout=15)
    assert (server.returncode, "Traceback" in rest) == (0, False)


def test_server_started_by_nohup_outlives_its_terminal():
    with serve("--port", "0", hangups="SIG_IGN") as server:
        [address] = re.findall(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        server.send_signal(signal.SIGHUP)
        assert answers(address)


def test_server_answers_at_an_inherited_socket(listener):
    """systemd keeps such a socket open, so that no client is refused during a restart."""
    host, port = listener.getsockname()
    with serve("--socket", str(listener.fileno()), pass_fds=[listener.fileno()]):
        assert answers(f"http://{host}:{port}")  # a client that connects earlier waits


def test_named_port_that_is_taken_is_refused(listener):
    with serve("--port", str(listener.getsockname()[1])) as server:
        words, _ = server.communicate(timeout=15)
    assert "Address already in use" in words
    assert server.returncode == 1

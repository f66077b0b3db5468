"""`manage.py serve` as a real process."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serve(*args):
    server = subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--no-sender", *args],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with server:
        try:
            yield server
        finally:
            server.terminate()


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_it_says_where_it_is_answers_there_and_ends_when_told():
    with serve("--port", "0") as server:
        [address] = re.findall(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert requests.get(f"{address}healthz", timeout=30).content == b"ok"
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=15)
    assert server.returncode == 0


def test_a_named_port_that_is_taken_is_refused(taken):
    with serve("--port", str(taken)) as server:
        words, _ = server.communicate(timeout=15)
    assert "Address already in use" in words
    assert server.returncode == 1

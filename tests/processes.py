"""Real processes of the product, for tests: their environment, their start and their end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fake_vonage import FakeVonage

ROOT = Path(__file__).resolve().parents[1]
VIRTUAL_NUMBER = "447700900000"
#: What signs the webhooks, in the tests' settings too.
SECRET = "first-secret-" * 4


def environment(network: FakeVonage, database_url: str) -> dict[str, str]:
    """Return the whole environment of a product process that sends to this network."""
    return {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only-for-tests-" * 4,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "COMPANY_NAME": "Acme",
        "QUIET_HOURS": "",
        "SMS_GATEWAY": "vonage",
        "SMS_RATE_PER_SECOND": "1000",
        "VONAGE_API_KEY": "abcd1234",
        "VONAGE_API_SECRET": "AbCdEf0123456789",
        "VONAGE_NUMBERS": VIRTUAL_NUMBER,
        "VONAGE_REST_HOST": network.host,
        "VONAGE_SIGNATURE_SECRETS": SECRET,
        "REQUESTS_CA_BUNDLE": str(network.ca_file),
    }


@contextmanager
def running(
    *arguments: str,
    env: dict[str, str],
    log: Path,
    shows: bool = True,
    pass_fds: Collection[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A `manage.py` process, which is ended at the end; what it says goes into `log`. It inherits `pass_fds`."""
    command = [sys.executable, "manage.py", *arguments]
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=said, stderr=said, pass_fds=pass_fds
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            if shows:
                print(log.read_text(encoding="utf-8")[-5000:])  # shown if the test fails


def wait_for(happened: Callable[[], object], *, seconds: float = 20, every: float = 0.05) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(every)

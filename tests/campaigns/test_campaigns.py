"""Every campaign at its small size, on the kind of database that the other tests run on."""

import subprocess
import sys

import pytest
from django.db import connection

from tests.campaigns.__main__ import NAMES
from tests.processes import ROOT

pytestmark = pytest.mark.database


@pytest.mark.parametrize("name", NAMES)
def test_small_campaign_finds_nothing_and_its_controls_hold(name):
    kind = "sqlite" if connection.vendor == "sqlite" else "postgres"
    command = [sys.executable, "-m", "tests.campaigns", name, "--size", "small"]
    run = subprocess.run(
        [*command, "--database", kind], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "control  holds" in run.stdout

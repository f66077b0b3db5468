"""Every campaign at its small size, on the kind of database that the other tests run on."""

import subprocess
import sys

import pytest
from django.db import connection

from tests.campaigns.__main__ import NAMES
from tests.processes import ROOT


@pytest.mark.parametrize("name", NAMES)
def test_a_small_campaign_finds_nothing_and_its_controls_hold(name):
    kind = "sqlite" if connection.vendor == "sqlite" else "postgres"
    command = [sys.executable, "-m", "tests.campaigns", name, "--size", "small"]
    told = subprocess.run(
        [*command, "--database", kind], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert "control  holds" in told.stdout

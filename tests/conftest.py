"""What all tests share: the database they run on is named by tests/settings.py."""

import os
from pathlib import Path

# `./run test` says so; with CI=true nothing is left out.
if not Path("/usr/bin/chromium").exists() and os.environ.get("CI") != "true":
    collect_ignore = ["browser"]

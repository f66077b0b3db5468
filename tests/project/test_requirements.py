"""The locks hold what requirements.txt names: the product's group in the first, all in the second."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TO_RUN, TO_TEST = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("# --- to test")


def named(text):
    return {
        name.lower().replace("_", "-")
        for name in re.findall(r"^([A-Za-z][\w-]*)", text, re.MULTILINE)
    }


def locked(name):
    return named((ROOT / name).read_text(encoding="utf-8"))


def test_what_runs_is_locked_and_nothing_else():
    assert named(TO_RUN) <= locked("requirements.lock")
    assert not named(TO_TEST) & locked("requirements.lock")


def test_the_second_lock_holds_all():
    assert named(TO_RUN) | named(TO_TEST) | locked("requirements.lock") <= locked(
        "requirements-dev.lock"
    )


def test_every_locked_version_has_a_hash():
    text = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    assert len(re.findall(r"^[\w\-.\[\]]+==", text, re.MULTILINE)) == len(
        re.findall(r"^[\w\-.\[\]]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)
    )

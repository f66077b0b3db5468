"""The locks hold what requirements.txt names: what runs, what the grown set-up adds, and all."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TO_RUN, GROWN, TO_TEST = re.split(
    "^# --- to (?:run behind|test)",
    (ROOT / "requirements.txt").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)
LOCKS = ("requirements.lock", "requirements-grown.lock", "requirements-dev.lock")


def named(text):
    return {
        name.lower().replace("_", "-")
        for name in re.findall(r"^([A-Za-z][\w-]*)", text, re.MULTILINE)
    }


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def locked(name):
    return named(text_of(name))


def pins(name):
    """Return the lines `name==version`, with their continuations up to the first hash."""
    return set(re.findall(r"^[\w\-.\[\]]+==[^\\]*", text_of(name), re.MULTILINE))


def test_lock_holds_the_requirements_and_nothing_else():
    assert named(TO_RUN) <= locked("requirements.lock")
    assert not named(GROWN + TO_TEST) & locked("requirements.lock")


def test_grown_lock_holds_the_added_requirements_and_nothing_else():
    assert named(GROWN) <= locked("requirements-grown.lock")
    assert not named(TO_TEST) & locked("requirements-grown.lock")


def test_the_last_lock_holds_all_and_in_the_same_versions():
    assert named(TO_RUN + GROWN + TO_TEST) <= locked("requirements-dev.lock")
    assert pins("requirements.lock") | pins("requirements-grown.lock") <= pins(
        "requirements-dev.lock"
    )


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_version_has_a_hash(name):
    hashed = re.findall(r"^[\w\-.\[\]]+==.*\\\n    --hash=sha256:", text_of(name), re.MULTILINE)
    assert len(hashed) == len(pins(name)) > 0


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_registry(name):
    assert "://" not in text_of(name)
    assert "--index-url" not in text_of(name).replace("--no-emit-index-url", "")

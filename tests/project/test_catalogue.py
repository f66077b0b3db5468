"""The catalogue of failures is complete: each row names tests that exist, or the reason for none."""

import ast
import tomllib
from pathlib import Path

import pytest

from tests.campaigns.__main__ import NAMES

TESTS = Path(__file__).resolve().parents[1]
ROWS = tomllib.loads((TESTS / "catalogue.toml").read_text(encoding="utf-8"))


def defined(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in found if name.startswith("test_")}


@pytest.fixture(scope="module")
def known():
    tests = set().union(*(defined(path) for path in TESTS.glob("**/test_*.py")))
    return tests | {f"campaign:{name}" for name in NAMES}


def test_no_row_is_missing():
    assert list(ROWS) == [str(number) for number in range(1, 97)]


@pytest.mark.parametrize("number", ROWS)
def test_a_row_has_tests_that_exist_or_says_why_not(number, known):
    row = ROWS[number]
    assert set(row) in ({"what", "tests"}, {"what", "later"}, {"what", "decided"})
    assert all(row.values())
    assert set(row.get("tests", [])) <= known

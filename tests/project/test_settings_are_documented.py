"""settings.py, .env.example and docs/configuration.md name the same settings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def names(path, pattern):
    return set(re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture
def read():
    asked = names("delivery_sms/settings.py", r'\benv(?:\.\w+)?\(\s*"([A-Z_]+)"')
    assert "SECRET_KEY" in asked
    return asked | {"ENV_FILE"}


def test_example_names_every_setting(read):
    assert names(".env.example", r"^([A-Z_]+)=") == read


def test_configuration_page_has_a_row_for_every_setting(read):
    assert names("docs/configuration.md", r"^\| `([A-Z_]+)`") == read

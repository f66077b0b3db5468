"""The source has no committed secrets, and compares secrets in constant time."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Keys of the services that one pastes by mistake, and what comes before a private key.
_SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[0-9A-Za-z-]{10,}|sk_live_[0-9A-Za-z]{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?m:^(?:SECRET_KEY|VONAGE_API_SECRET|VONAGE_SIGNATURE_SECRETS|WEBHOOK_TOKEN)=(?!\$)\S+)"
)
_NAMES = re.compile(r"(^|_)(sig|signature|secret|token|password)s?$", re.IGNORECASE)
#: A claim's token is no secret: it tells two workers apart.
_NO_SECRETS = {"bookings/outbox", "bookings/operations/invariants", "tests"}


@pytest.fixture(scope="module")
def files():
    """Return the files that git tracks; without git, the product's modules."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return list(ROOT.glob("[bd]*/**/*.py"))
    told = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in told.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_secret_is_committed(files):
    texts = {path: path.read_text(encoding="utf-8", errors="ignore") for path in files}
    assert [str(path) for path, text in texts.items() if _SECRETS.search(text)] == []
    assert ".env" not in {path.name for path in files}


def test_the_scan_sees_a_secret():
    assert _SECRETS.search("SECRET_KEY=abc")
    assert _SECRETS.search("-----BEGIN RSA " + "PRIVATE KEY-----")


def compared_plainly(source):
    """Return the names of secrets that are compared with == or != or looked up with `in`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            plain = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
            named = [getattr(side, "attr", getattr(side, "id", "")) for side in _sides(node)]
            literal = any(isinstance(side, ast.Constant) for side in _sides(node))
            if plain and not literal and any(_NAMES.search(name) for name in named):
                yield ast.unparse(node)


def _sides(node):
    return [node.left, *node.comparators]


def test_secrets_are_compared_in_constant_time(files):
    found = {
        f"{path.relative_to(ROOT)}: {comparison}"
        for path in files
        if path.suffix == ".py" and not str(path.relative_to(ROOT)).startswith(tuple(_NO_SECRETS))
        for comparison in compared_plainly(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_comparison_scan_finds_an_unsafe_comparison():
    assert list(compared_plainly("if token != settings.WEBHOOK_TOKEN: pass"))
    assert not list(compared_plainly("if not token: pass"))

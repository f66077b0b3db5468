"""Other ways to serve the web: as docs/nginx.conf says, and as one should not."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.campaigns.shared.environment import Environment
from tests.processes import ROOT, wait_for

NGINX_CONF = ROOT / "docs" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def naive_webhook_server(environment: Environment) -> Iterator[str]:
    """The webhook of a tutorial (`naive.py`); its address."""
    log = environment.log("naive")
    with _started(
        [sys.executable, "-m", "tests.campaigns.shared.naive_webhook"], environment.variables, log
    ):
        wait_for(lambda: log.read_text(encoding="utf-8").startswith("http"))
        yield log.read_text(encoding="utf-8").split()[0]


@contextmanager
def web_behind_nginx(environment: Environment) -> Iterator[str]:
    """nginx with docs/nginx.conf, and the granian that its first lines start; the address of nginx."""
    assert NGINX
    told = NGINX_CONF.read_text(encoding="utf-8")
    web, door = _free_port(), _free_port()
    conf = environment.folder / "nginx.conf"
    conf.write_text(_played(told, environment.folder, web, door), encoding="utf-8")
    nginx = [NGINX, "-p", str(environment.folder), "-c", str(conf), "-g", "daemon off;"]
    env = environment.variables | {"BEHIND_PROXY": "True"}
    with (
        _started(_granian(told, web), env, environment.log("granian")),
        _started(nginx, env, environment.log("nginx")),
    ):
        base_url = f"http://127.0.0.1:{door}"
        wait_for(lambda: _answers(base_url), seconds=40)
        yield base_url


def memory_of_web(environment: Environment) -> float:
    """What the web that ships holds in memory, in kB; 0 where there is no /proc."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_web = b"--socket" in (process / "cmdline").read_bytes()
            is_ours = environment.database.encode() in (process / "environ").read_bytes()
            if is_web and is_ours:
                held = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
                return float(held[1]) if held else 0
        except OSError:  # gone, or not ours to look at
            continue
    return 0


def _granian(told: str, port: int) -> list[str]:
    """The command in the comment at the top of the configuration, at another port."""
    (comment,) = re.findall(r"^#   (granian (?:.*\n#    )*.*)$", told, re.MULTILINE)
    _, *arguments = shlex.split(comment.replace("\n#", " ").replace("8001", str(port)))
    return [sys.executable, "-m", "granian", *arguments]


def _played(told: str, folder: Path, web: int, door: int) -> str:
    """The same configuration without TLS and at free ports, writing into `folder` alone."""
    own = "".join(
        f"    {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    changes = {
        "user www-data;": "user root;",  # who alone may look into the folder; else it is ignored
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx/": f"{folder}/",
        "http {\n": f"http {{\n{own}",
        "127.0.0.1:8001": f"127.0.0.1:{web}",
        "listen 80;": f"listen 127.0.0.1:{_free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{door};",
    }
    for old, new in changes.items():
        assert told.count(old) >= 1, old
        told = told.replace(old, new)
    return re.sub(r"^ *ssl_.*\n", "", told, flags=re.MULTILINE)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _started(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[None]:
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=said) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(base_url: str) -> bool:
    try:
        return requests.get(f"{base_url}/healthz", timeout=2).ok
    except requests.RequestException:
        return False

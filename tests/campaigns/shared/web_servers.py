"""Other web servers: nginx as in docs/nginx.conf, and a naive webhook as a control."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.ports import free_port
from tests.processes import ROOT, wait_for

NGINX_CONF = ROOT / "docs" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def naive_webhook_server(environment: Environment) -> Iterator[str]:
    """Serve `naive_webhook.py`; yields its address."""
    log = environment.log("naive")
    with _started(
        [sys.executable, "-m", "tests.campaigns.shared.naive_webhook"], environment.variables, log
    ):
        wait_for(lambda: log.read_text(encoding="utf-8").startswith("http"), seconds=60)
        yield log.read_text(encoding="utf-8").split()[0]


@contextmanager
def web_behind_nginx(environment: Environment) -> Iterator[str]:
    """Serve with docs/nginx.conf and the granian command in its first lines; yields the address of nginx."""
    assert NGINX
    template = NGINX_CONF.read_text(encoding="utf-8")
    web, door = free_port(), free_port()
    conf = environment.folder / "nginx.conf"
    conf.write_text(_configured(template, environment.folder, web, door), encoding="utf-8")
    nginx = [NGINX, "-p", str(environment.folder), "-c", str(conf), "-g", "daemon off;"]
    env = environment.variables | {"BEHIND_PROXY": "True"}
    with (
        _started(_granian(template, web), env, environment.log("granian")),
        _started(nginx, env, environment.log("nginx")),
    ):
        base_url = f"http://127.0.0.1:{door}"
        wait_for(lambda: _answers(base_url), seconds=60)
        yield base_url


def _granian(template: str, port: int) -> list[str]:
    """Return the command in the comment at the top of the configuration, with another port."""
    (comment,) = re.findall(r"^#   (granian (?:.*\n#    )*.*)$", template, re.MULTILINE)
    _, *arguments = shlex.split(comment.replace("\n#", " ").replace("8001", str(port)))
    return [sys.executable, "-m", "granian", *arguments]


def _configured(template: str, folder: Path, web: int, door: int) -> str:
    """Return the configuration without TLS, with free ports, and writing only into `folder`."""
    own = "".join(
        f"    {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    changes = {
        "user www-data;": "user root;",  # only root may read the folder; ignored if we are not root
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx/": f"{folder}/",
        "http {\n": f"http {{\n{own}",
        "127.0.0.1:8001": f"127.0.0.1:{web}",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{door};",
    }
    for old, new in changes.items():
        assert template.count(old) >= 1, old
        template = template.replace(old, new)
    return re.sub(r"^ *ssl_.*\n", "", template, flags=re.MULTILINE)


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

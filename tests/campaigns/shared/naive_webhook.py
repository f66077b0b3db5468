"""A webhook as tutorials write it, which a campaign must find faults in: `python -m` this module.

It reads JSON with json.loads, checks the signature with Vonage's SDK and inserts a row. waitress serves it with its
defaults and two threads. The first line of output is its address.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from vonage_http_client import Auth
from waitress import create_server

from tests.processes import SECRET


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Store a customer's text and answer 200: the WSGI application."""
    body = environ["wsgi.input"].read()
    if environ["REQUEST_METHOD"] == "GET":
        fields = dict(parse_qsl(environ["QUERY_STRING"]))
    elif "json" in environ.get("CONTENT_TYPE", ""):
        fields = json.loads(body)
    else:
        fields = dict(parse_qsl(body.decode()))
    auth = Auth(
        api_key="abcd1234",
        api_secret="unused",
        signature_secret=SECRET,
        signature_method="sha256",
    )
    if fields and not auth.check_signature(fields):
        start_response("401 Unauthorized", [])
        return []
    if fields:
        _store(fields["messageId"], fields.get("text", ""))
    start_response("200 OK", [])
    return []


def _store(message_id: str, text: str) -> None:
    with sqlite3.connect("file:naive?mode=memory&cache=shared", uri=True) as database:
        database.execute("CREATE TABLE IF NOT EXISTS message (id PRIMARY KEY, text)")
        database.execute("INSERT OR IGNORE INTO message VALUES (?, ?)", [message_id, text])


if __name__ == "__main__":
    server = create_server(application, listen="127.0.0.1:0", threads=2)
    print(f"http://127.0.0.1:{server.effective_port}", flush=True)
    server.run()

"""The web application. A web server imports this; the sender does not."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "delivery_sms.settings")
# No page waits long for PostgreSQL, and a webhook mostly gives up before it is cut off (web/webhooks/deadline.py). No
# statement of a page is worth compiling (jit): that takes longer than to run it.
os.environ.setdefault(
    "PGOPTIONS",
    "-c statement_timeout=4000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
    " -c jit=off",
)

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django, with 400 for a request that it cannot even begin to read: a broken Content-Type.

    What goes wrong later it turns into answers of its own.
    """
    try:
        return _django(environ, start_response)
    except ValueError:
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []

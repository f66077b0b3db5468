"""Nonces of forms: a form that is posted twice is carried out once."""

import re
import secrets

#: The format of a nonce that the admin accepts.
NONCE = re.compile(r"[A-Za-z0-9_-]{16,40}")


def new_nonce() -> str:
    return secrets.token_urlsafe(18)

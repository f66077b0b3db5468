"""What makes a page one page, however often it is posted."""

import re
import secrets

#: What a page of the admin may come back with.
NONCE = re.compile(r"[A-Za-z0-9_-]{16,40}")


def new_nonce() -> str:
    return secrets.token_urlsafe(18)

"""What we put in the place of a name: a message's own, and that of what was forgotten."""

import secrets

#: What stands in the place of a text that was erased, and how a number begins that was: the country code of nobody.
FORGOTTEN, NOBODY = "[forgotten]", "999"


def new_key() -> str:
    """A name that no other installation uses either: 24 characters."""
    return secrets.token_hex(12)

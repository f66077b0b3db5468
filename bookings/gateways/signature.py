"""Signatures of Vonage's SMS webhooks: the `sig` field, made and checked.

The SDK's own check cannot do `md5hash`, Vonage's default, and raises on hostile input.
Algorithm: https://developer.vonage.com/en/getting-started/concepts/signing-messages
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

METHODS = ("md5hash", "md5", "sha1", "sha256", "sha512")


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """The lower-case hex signature of decoded fields, whatever `sig` they already hold.

    `md5hash` is a plain MD5 over fields and secret; the other METHODS are HMACs.
    Raises ValueError for a method that is none of them.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown signature method {method!r}; known are {', '.join(METHODS)}.")
    # surrogatepass: half an emoji, as JSON may hold, is to end in a signature and not in an error.
    base = _base(params).encode(errors="surrogatepass")
    if method == "md5hash":
        return hashlib.md5(base + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), base, method).hexdigest()


def is_signed(params: Mapping[str, str], secrets: Sequence[str], method: str) -> bool:
    """Return True if `sig` was made with any of the secrets; without secrets, never.

    Does not raise, whatever the fields hold. Says nothing of the message's age.
    """
    given = params.get("sig", "").encode("ascii", errors="replace").lower()
    # Vonage's own libraries disagree on whether blank values are signed: both are right.
    written = {name: value for name, value in params.items() if value.strip()}
    expected = [
        sign(fields, secret, method) for secret in secrets if secret for fields in (params, written)
    ]
    return any(hmac.compare_digest(given, signature.encode()) for signature in expected)


def _base(params: Mapping[str, str]) -> str:
    # Names are cleaned as values are, or `a=1&b` could be passed off as two signed fields.
    return "".join(
        f"&{_clean(name)}={_clean(value)}"
        for name, value in sorted(params.items())
        if name != "sig"
    )


def _clean(value: str) -> str:
    return value.replace("&", "_").replace("=", "_")

"""A fake mobile network that records the texts it takes, and answers in a given mode.

Modes: ok, partial, count:N (as message-count), no_error_text, status:N; slow:SECONDS; those of LOST_ANSWERS; html200,
empty200, redirect_302, redirect_307; and for any HTTP status: 401, 429 (with Retry-After), 500, 503 in Vonage's JSON,
html500, html502.
"""

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

GSM7_EXTENDED = set("|^€{}[]~\\\f")
GSM7 = GSM7_EXTENDED | set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

#: Modes that take the text and lose the answer, each with the error that the caller gets.
LOST_ANSWERS = {
    "accept_then_close": "ConnectionError",
    "accept_then_reset": "ConnectionError",
    "half_body": "ProtocolError",
    "hang": "ReadTimeout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST to /sms/json, as it came."""

    form: dict[str, str]
    message_ids: tuple[str, ...]  # one for each part
    connection: int  # the client's port: tells connections apart
    at: float  # time.monotonic()

    @property
    def client_ref(self) -> str:
        return self.form.get("client-ref", "")

    @property
    def shown_text(self) -> str:
        """Return the text on the handset: `?` for characters outside GSM-7, unless type=unicode."""
        text = self.form.get("text", "")
        is_unicode = self.form.get("type") == "unicode"
        return text if is_unicode else "".join(c if c in GSM7 else "?" for c in text)


def count_parts(form: dict[str, str]) -> int:
    """Return the number of SMS: 160 or 153 septets each, or as unicode 70 or 67 UCS-2 units."""
    text = form.get("text", "")
    if form.get("type") == "unicode":
        length, one, several = len(text.encode("utf-16-be")) // 2, 70, 67
    else:
        length, one, several = len(text) + sum(c in GSM7_EXTENDED for c in text), 160, 153
    return 1 if length <= one else -(-length // several)


def new_id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:14].upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPAnswer:
    """An answer of Vonage's SMS API."""

    status: int
    body: str
    headers: dict[str, str]


class Network:
    """Takes texts (`posts`), and answers them as `set_mode` says."""

    #: Where a redirected text would be sent to.
    host = "localhost"

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.stopping = threading.Event()
        self._modes: dict[str, list[tuple[str, float]]] = {}
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Reset the modes, and forget the texts."""
        with self._lock:
            self._modes.clear()
            self.posts.clear()

    def set_mode(self, mode: str, *, times: float = float("inf"), to: str = "") -> None:
        """Set the mode of the next `times` sends, or of all; it comes before modes set earlier.

        What is set for one recipient goes before what is set for all.
        """
        with self._lock:
            self._modes.setdefault(to, []).insert(0, (mode, times))

    def count(self, client_ref: str | None = None) -> int:
        """Return the number of POSTs, of one client-ref or in all."""
        return sum(client_ref in {None, post.client_ref} for post in list(self.posts))

    def take(self, form: dict[str, str], connection: int) -> tuple[Post, str]:
        """Note a POST; returns it with its mode."""
        ids = tuple(new_id("0C") for _ in range(count_parts(form)))
        post = Post(form=form, message_ids=ids, connection=connection, at=time.monotonic())
        with self._lock:
            self.posts.append(post)
            return post, self._next_mode(form.get("to", "")) or self._next_mode("") or "ok"

    def _next_mode(self, to: str) -> str:
        modes = self._modes.get(to, [])
        if not modes:
            return ""
        mode, times = modes[0]
        modes[:1] = [(mode, times - 1)] if times > 1 else []
        return mode

    def answer(self, post: Post, mode: str) -> HTTPAnswer:
        """Return the answer of a mode that has one, a slow mode's after its wait. Raises ValueError for another."""
        if mode.startswith("slow:"):
            self.stopping.wait(float(mode.removeprefix("slow:")))
            mode = "ok"
        if http := re.fullmatch(r"(html|empty|redirect_|)([1-5]\d\d)", mode):
            return self._answer_http(http[1], int(http[2]))
        body = json.dumps(self._messages(post, mode))
        return HTTPAnswer(status=200, body=body, headers={"Content-Type": "application/json"})

    def _answer_http(self, kind: str, status: int) -> HTTPAnswer:
        bodies = {"html": "<html>told to</html>", "": '{"title": "told to", "detail": "told to"}'}
        headers = {"Content-Type": "text/html" if kind == "html" else "application/json"}
        if kind == "redirect_":
            headers["Location"] = f"https://{self.host}/sms/json"
        if status == 429:
            headers["Retry-After"] = "2"
        return HTTPAnswer(status=status, body=bodies.get(kind, ""), headers=headers)

    def _messages(self, post: Post, mode: str) -> dict[str, Any]:
        count = len(post.message_ids)
        match mode.partition(":"):
            case "ok", _, _:
                return self.say(post, [_status(post.form)] * count)
            case "status", _, status:
                return self.say(post, [status] * count)
            case "partial", _, _:
                return self.say(post, ["0"] + ["5"] * max(1, count - 1))
            case "count", _, parts:
                return self.say(post, ["0"] * count) | {"message-count": parts}
            case "no_error_text", _, _:
                return {"message-count": "1", "messages": [{"status": "2"}]}
        raise ValueError(f"There is no mode {mode}.")

    def say(self, post: Post, statuses: list[str]) -> dict[str, Any]:
        """Return Vonage's JSON with these statuses of the parts, and call `on_taken` for the parts taken."""
        elements = []
        for number, status in enumerate(statuses, 1):
            element = {"to": post.form.get("to", ""), "status": status}
            if status == "0":
                element |= {
                    "message-id": post.message_ids[number - 1],
                    "remaining-balance": "15.53590000",
                    "message-price": "0.03330000",
                    "network": "23410",
                }
                self.on_taken(post, number)
            else:
                wait = "Throughput Rate Exceeded - please wait [ 250 ] and retry"
                element["error-text"] = wait if status == "1" else f"Error {status}"
            elements.append(element | ({"client-ref": post.client_ref} if post.client_ref else {}))
        return {"message-count": str(len(elements)), "messages": elements}

    def on_taken(self, post: Post, number: int) -> None:
        """Do nothing: a network that sends receipts overrides this."""


def _status(form: dict[str, str]) -> str:
    """Return the status that Vonage gives this form."""
    if not (form.get("from") and form.get("to") and form.get("text")):
        return "2"
    kind, ttl = form.get("type", "text"), int(form.get("ttl", 20_000))
    is_valid = kind in {"text", "unicode"} and 20_000 <= ttl <= 604_800_000
    return "0" if is_valid and re.fullmatch("[1-9][0-9]{6,14}", form["to"]) else "3"

"""Campaign `fuzz`: bytes of every kind at the webhooks, over raw sockets; many requests are validly signed.

No answer may be 5xx, no request that is not authentic and complete may store a row, and every valid reply must get its
200 and be stored once. Sizes are requests.
"""

import hashlib
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.raw_http import (
    FORM,
    INBOUND,
    JSON,
    RECEIPT,
    Address,
    Answer,
    address_of,
    as_form,
    as_json,
    ask,
    chunked,
    get,
    head,
    inbound,
    post,
    receipt,
    with_signature,
)
from tests.campaigns.shared.report import Report
from tests.campaigns.shared.web_servers import naive_webhook_server

FULL, SMALL = 10_000, 600

_SLOW_SECONDS, _MOST_GROWTH_MB = 1, 20
_OLD, _FUTURE = 26 * 3600, -3600


@dataclass(frozen=True, slots=True)
class _Case:
    """One request; `valid` is the id of the SMS that must be stored, "" if nothing may be stored."""

    request: bytes
    valid: str = ""
    is_refused: bool = True  # a 200 would be wrong


Maker = Callable[[Random], _Case]


def _valid(random: Random, **changes: object) -> _Case:
    fields = with_signature(inbound(random, **changes))
    body = as_json(fields)
    ways = [post(INBOUND, body), post(INBOUND, body, f"{JSON};charset=UTF-8")]
    ways += [post(INBOUND, chunked(body), JSON, "Transfer-Encoding: chunked", length="")]
    if str(fields["text"]).isprintable():
        ways += [post(INBOUND, as_form(fields), FORM), get(INBOUND, fields)]
    return _Case(random.choice(ways), str(fields["messageId"]))


def _again(random: Random) -> _Case:
    """Return the same bytes twice for one connection, which the server closes after the first request."""
    case = _valid(random)
    return _Case(case.request * 2, case.valid)


def _receipt(random: Random) -> _Case:
    return _Case(post(RECEIPT, as_json(with_signature(receipt(random)))), is_refused=False)


def _forged(random: Random, sig: object) -> _Case:
    fields = inbound(random) | {"sig": sig}
    return _Case(post(random.choice([INBOUND, RECEIPT]), as_json(fields)))


def _signed(random: Random, **changes: object) -> _Case:
    return _Case(post(INBOUND, as_json(with_signature(inbound(random, **changes)))))


def _raw(random: Random, body: bytes, kind: str = JSON, *headers: str) -> _Case:
    return _Case(post(random.choice([INBOUND, RECEIPT]), body, kind, *headers))


def _smuggled(random: Random) -> _Case:
    """Hide the message id in the key of another field, which does not change the signature."""
    fields = with_signature(inbound(random))
    text, message_id = fields.pop("message-timestamp"), fields.pop("messageId")
    return _Case(
        post(INBOUND, as_json(fields | {f"message-timestamp={text}&messageId": message_id}))
    )


def _twice(random: Random) -> _Case:
    fields = with_signature(inbound(random))
    return _raw(random, as_json(fields)[:-1] + b', "text": "2"}')


def _encoded(random: Random, encoding: str) -> _Case:
    return _raw(random, as_json(with_signature(inbound(random))).decode().encode(encoding))


def _both(random: Random) -> _Case:
    fields = with_signature(inbound(random))
    return _Case(post(f"{INBOUND}?text=2", as_json(fields)))


def _length(random: Random, length: str) -> _Case:
    return _Case(post(INBOUND, as_json(with_signature(inbound(random))), length=length))


def _framed(random: Random, *headers: str) -> _Case:
    body = as_json(with_signature(inbound(random)))
    return _Case(post(INBOUND, body, JSON, *headers))


def _broken_chunks(random: Random) -> _Case:
    body = random.choice(
        [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"-1\r\n\r\n", b"FFFFFFFFFF\r\nx"]
    )
    return _Case(post(INBOUND, body, JSON, "Transfer-Encoding: chunked", length=""))


def _request_line(random: Random) -> _Case:
    lines = ["GET", f"POST {INBOUND}", f"POST\t{INBOUND} HTTP/9.9", "\x00\x01\x02 / HTTP/1.1"]
    lines += [f"GET {INBOUND}/../../etc/passwd HTTP/1.1", "x" * 9000, f"{INBOUND} POST HTTP/1.1"]
    return _Case(f"{random.choice(lines)}\r\nHost: localhost\r\n\r\n".encode(), is_refused=False)


_TEXTS = [
    "\x00 2",
    "2\ud83d",
    "\u202e2",
    "é" * 600,
    "2\\",
    "👩‍👩‍👧 3",
    "\N{FULLWIDTH DIGIT ONE}",
    "٢",
    "<script>alert(1)</script>",
    "",
]
_SIGS = ["", "0" * 64, "é" * 64, "a" * 10_000, None, True, 1, 1.5, ["x"], {"a": "b"}]
_BODIES = [
    b"[" * 14_000,
    b"{" * 14_000,
    b"9" * 5_000,
    b"null",
    b'"x"',
    b"[]",
    b"\xff\xfe",
    b"{",
    b"NaN",
]
_VALUES = [True, None, 1.5, ["2"], {"a": 1}, 10**30]
_KEYS = ["a=b", "a&b", "a\x00b", "é", "x" * 65, "", "1a"]
_LENGTHS = ["-1", "+5", "1e3", "9" * 30, "x", "0x10", "1_0"]

CASES: dict[str, Maker] = {
    "valid": _valid,
    "valid, odd words": lambda random: _valid(random, text=random.choice(_TEXTS)),
    "valid, twice": _again,
    "valid receipt of nobody": _receipt,
    "bare": lambda random: _Case(post(INBOUND, b"", ""), is_refused=False),
    "forged signature": lambda random: _forged(random, random.choice(_SIGS)),
    "signed with another secret": lambda random: _Case(
        post(INBOUND, as_json(with_signature(inbound(random), "guessed" * 6)))
    ),
    "changed after it was signed": lambda random: _Case(
        post(INBOUND, as_json(with_signature(inbound(random)) | {"text": "one more"}))
    ),
    "too old": lambda random: _signed(random, timestamp=str(int(time.time()) - _OLD)),
    "from the future": lambda random: _signed(random, timestamp=str(int(time.time()) - _FUTURE)),
    "no moment": lambda random: _signed(random, timestamp=random.choice(["x", "-1", "1e9", "٢"])),
    "lacks a field": lambda random: _signed(
        random, **{random.choice(["messageId", "msisdn", "to", "text"]): None}
    ),
    "value of a wrong type": lambda random: _signed(random, text=random.choice(_VALUES)),
    "odd key": lambda random: _signed(random, **{random.choice(_KEYS): "x"}),
    "smuggled key": _smuggled,
    "key twice": _twice,
    "many fields": lambda random: _signed(random, **{f"a{n}": "x" for n in range(50)}),
    "odd body": lambda random: _raw(random, random.choice(_BODIES)),
    "other encoding": lambda random: _encoded(
        random, random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"])
    ),
    "charset that lies": lambda random: _raw(
        random, as_json(with_signature(inbound(random))), f"{JSON};charset=latin-1"
    ),
    "other type": lambda random: _raw(
        random,
        b"<a/>",
        random.choice(["text/xml", "image/png", "", "a/b;" * 99, "multipart/form-data"]),
    ),
    "broken multipart": lambda random: _raw(
        random, b"--x\r\nContent-Disposition: form-data; na", "multipart/form-data; boundary=x"
    ),
    "broken form": lambda random: _raw(random, random.choice([b"a=%zz", b"a&b&&", b"=%00"]), FORM),
    "query and body": _both,
    "too big": lambda random: _raw(random, b"a" * random.choice([17_000, 200_000])),
    "odd length": lambda random: _length(random, random.choice(_LENGTHS)),
    "cut short": lambda random: _length(random, "5000"),
    "two lengths": lambda random: _framed(random, "Content-Length: 3"),
    "length and chunks": lambda random: _framed(random, "Transfer-Encoding: chunked"),
    "broken chunks": _broken_chunks,
    "huge header": lambda random: _framed(random, "X-Big: " + "x" * 300_000),
    "odd header": lambda random: _framed(
        random, random.choice(["no colon", ": x", "A\x00: b", "é: x"])
    ),
    "odd request line": _request_line,
    "other method": lambda random: _Case(
        head(random.choice(["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "BREW"]), INBOUND)
    ),
}


#: Cases for which a server waits for more bytes: our sending side is closed.
_WITHOUT_END = {"cut short", "broken chunks", "length and chunks", "odd request line"}


def run(environment: Environment, size: int, report: Report) -> None:
    """Send `size` requests, check answers and rows, then send some to the naive webhook as a control."""
    from bookings.models import DeliveryReceipt, InboundMessage

    corpus = list(_corpus(environment.random, size))
    with environment.web() as web:
        address = address_of(web.base_url)
        for name, case in corpus[: len(CASES)]:  # what the web loads lazily is loaded
            _send(address, name, case)
        before = web.memory()
        answers = [(name, case, _send(address, name, case)) for name, case in corpus]
        grown = (web.memory() - before) / 1024
        _check_times(address, answers, report)
    report.tried("requests", len(corpus))
    _check_answers(answers, report)
    due = {case.valid for _, case, _ in answers if case.valid}
    stored = Counter(InboundMessage.objects.values_list("gateway_message_id", flat=True))
    if due - set(stored):
        report.found(f"{len(due - set(stored))} valid texts are not stored")
    if set(stored) - due or max(stored.values(), default=0) > 1:
        report.found(f"{len(set(stored) - due)} rows are not of a valid text, or stored twice")
    report.figure(
        "texts and receipts stored", f"{len(stored)} and {DeliveryReceipt.objects.count()}"
    )
    report.figure("the web's memory grew by (MB)", f"{grown:.1f}")
    if grown > _MOST_GROWTH_MB:
        report.found(f"the web grew by {grown:.0f} MB")
    report.control(
        "every valid text got its 200 and is stored", holds=bool(due) and due <= set(stored)
    )
    with naive_webhook_server(environment) as base_url:
        _control_naive_webhook(address_of(base_url), corpus[: max(size // 5, 300)], report)


def _corpus(random: Random, size: int) -> Iterator[tuple[str, _Case]]:
    """Yield every case in turn, so that each is tried at any size."""
    names = list(CASES)
    for number in range(size):
        name = names[number % len(names)]
        yield name, CASES[name](random)


def _send(address: Address, name: str, case: _Case) -> Answer:
    return ask(address, [case.request], hangs_up=name in _WITHOUT_END)


def _check_answers(answers: list[tuple[str, _Case, Answer]], report: Report) -> None:
    outcomes: dict[str, set[int]] = defaultdict(set)
    for name, case, answer in answers:
        outcomes[name].update(answer.statuses[:1] or [0])
        if any(status >= 500 for status in answer.statuses):
            report.found(f"{name}: answered with {answer.statuses}")
        if case.valid and answer.status != 200:
            report.found(f"{name}: a valid text got {answer.status}")
        if not case.valid and case.is_refused and answer.status == 200:
            report.found(f"{name}: answered with 200")
    told = "; ".join(f"{name}: {sorted(statuses)}" for name, statuses in sorted(outcomes.items()))
    report.figure(
        "outcomes (the same on both databases)", hashlib.sha256(told.encode()).hexdigest()[:12]
    )


def _check_times(
    address: Address, answers: list[tuple[str, _Case, Answer]], report: Report
) -> None:
    """Report requests that take long each time. The machine may be busy, so slow ones are sent again."""
    times = [answer.seconds for *_, answer in answers]
    report.figure(
        "answers (s): median, slowest", f"{statistics.median(times):.4f}, {max(times):.3f}"
    )
    for name, case, answer in answers:
        if answer.seconds >= _SLOW_SECONDS:
            again = [_send(address, name, case).seconds for _ in range(3)]
            if statistics.median(again) >= _SLOW_SECONDS:
                report.found(f"{name}: takes {statistics.median(again):.1f} s")


def _control_naive_webhook(
    address: Address, corpus: list[tuple[str, _Case]], report: Report
) -> None:
    answers = [(name, _send(address, name, case)) for name, case in corpus]
    broken = sum(answer.status >= 500 for _, answer in answers)
    stale = sum(name == "too old" and answer.status == 200 for name, answer in answers)
    report.figure(
        "a naive webhook, of as many", f"{broken} x 5xx, {stale} stale ones taken ({len(answers)})"
    )
    report.control("a naive webhook is caught: 5xx", holds=broken > 0)
    report.control("a naive webhook is caught: stale requests taken", holds=stale > 0)

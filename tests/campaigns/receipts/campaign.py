"""`receipts`: what the gateway says later, early, late, doubled, shuffled and against itself.

Texts of one to three parts leave by the real sender; each part then gets receipts at random, over the real webhook,
from many threads at once. What became of each text is worked out here a second time, from the set of what was said.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.fake_vonage import Post, new_id, post_receipt
from tests.processes import SECRET, VIRTUAL_NUMBER, wait_for

FULL, SMALL = 1000, 60  # texts

_WORDS = ("accepted", "buffered", "delivered", "expired", "failed", "rejected", "unknown", "new!")
_LENGTHS = {1: 60, 2: 200, 3: 400}
#: How the send itself goes, by its share: at once, with its receipts before its answer, without an answer.
_EARLY, _UNANSWERED = "slow:1", "half_body"
_SENDS = {"ok": 7, _EARLY: 2, _UNANSWERED: 1}


@dataclass(frozen=True, slots=True)
class _Text:
    """One text to one customer, how its send goes, and what will be said of it: (part, word, err-code, has a ref)."""

    msisdn: str
    mode: str
    message: int
    said: tuple[tuple[int, str, str, bool], ...]


def run(environment: Environment, size: int, report: Report) -> None:
    texts = _queue(environment, size)
    before = _bookings()
    with (
        environment.web() as base_url,
        ThreadPoolExecutor(12) as threads,
        environment.sender("--threads", "16"),
    ):
        early = _send_all(environment, base_url, texts, threads)
        posts = {post.form["to"]: post for post in environment.network.posts}
        late = [
            job
            for text in texts
            if text.mode != _EARLY
            for job in _jobs(base_url, text, posts[text.msisdn])
        ]
        late += _others_and_forged(base_url, list(posts.values()), size // 10)
        environment.random.shuffle(late)
        answers = [job.result() for job in early]
        answers += threads.map(lambda job: job(), late)
        _count(answers, report)
        wait_for(lambda: _ours_parked(posts) == 0, seconds=30)
    _check_rows(texts, posts, size // 10, report)
    states = _states()
    for fault in _wrong(texts, posts, states.__getitem__):
        report.found(fault)
    if _bookings() != before:
        report.found("a receipt moved a booking")
    for line in environment.contradictions():
        report.found(line)
    naive = _last_write_wins()
    caught = _wrong(texts, posts, lambda message: naive.get(message, "submitted"))
    report.figure("texts that end wrong if the last receipt wins", len(caught))
    report.control("a merge in which the last receipt wins is caught", holds=bool(caught))
    early_ones = _came_before_the_answer()
    report.figure("receipts that came before the answer to their send", early_ones)
    report.control("receipts came early", holds=early_ones > 0)
    delivered = sum(state == "delivered" for state in states.values())
    report.figure("texts delivered", delivered)
    report.control("what was delivered is shown so", holds=delivered > 0)


def _queue(environment: Environment, size: int) -> list[_Text]:
    from bookings.models import Booking, Kind, Slot
    from bookings.outbox import queue

    day = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)
    slot = Slot.objects.create(date=day, window_start=dt.time(9), window_end=dt.time(12))
    texts = []
    for number in range(size):
        msisdn = f"4473{number:08}"
        booking = Booking.objects.create(reference=f"R-{number}", msisdn=msisdn, slot=slot)
        parts = environment.random.choice(list(_LENGTHS))
        (mode,) = environment.random.choices(list(_SENDS), list(_SENDS.values()))
        environment.network.set_mode(mode, times=1, to=msisdn)
        message = queue(
            Kind.STAFF,
            f"Acme {number}: ".ljust(_LENGTHS[parts], "x"),
            key=f"receipts:{number}",
            msisdn=msisdn,
            sender=VIRTUAL_NUMBER,
            booking=booking,
        )
        texts.append(_Text(msisdn, mode, message.pk, _things_said(environment, parts, mode)))
    return texts


def _things_said(
    environment: Environment, parts: int, mode: str
) -> tuple[tuple[int, str, str, bool], ...]:
    """Some texts are delivered and little else is said of them; of the others anything, in any number."""
    words = _WORDS if environment.random.random() < 0.6 else ("accepted", "delivered")
    said = [(part, "delivered", "0", True) for part in range(1, parts + 1) if len(words) == 2]
    for _ in range(environment.random.randrange(5)):
        part, word = environment.random.randint(1, parts), environment.random.choice(words)
        # Without an answer the message ids are not known to us: only its client-ref tells whose it is.
        has_ref = mode == _UNANSWERED or environment.random.random() < 0.7
        said.append((part, word, str(environment.random.randrange(6)), has_ref))
    said += environment.random.choices(said, k=len(said) // 2) if said else []
    environment.random.shuffle(said)
    return tuple(said)


def _jobs(base_url: str, text: _Text, post: Post) -> list[Callable[[], int]]:
    return [
        partial(
            _deliver,
            base_url,
            post,
            part=part,
            status=word,
            err_code=err_code,
            scts="2611250900",
            **({} if has_ref else {"client_ref": None}),
        )
        for part, word, err_code, has_ref in text.said
    ]


def _deliver(base_url: str, post: Post, **told: Any) -> int:
    """As Vonage does: again and again, while the answer is that we cannot take it now."""
    for wait in (0, 1, 2, 4, 8):
        time.sleep(wait)
        status = post_receipt(base_url, post, **({"secret": SECRET} | told))
        if status != 503:
            return status
    return 503


def _send_all(
    environment: Environment, base_url: str, texts: list[_Text], threads: ThreadPoolExecutor
) -> "list[Future[int]]":
    """Wait until all have left. Of some the receipts come while the sender still waits for the answer."""
    early = {text.msisdn: text for text in texts if text.mode == _EARLY}
    told: list[Future[int]] = []

    def have_left() -> bool:
        for post in list(environment.network.posts):
            if text := early.pop(post.form["to"], None):
                told.extend(threads.submit(job) for job in _jobs(base_url, text, post))
        return not early and not _waiting()

    wait_for(have_left, seconds=60 + len(texts))
    return told


def _others_and_forged(base_url: str, posts: list[Post], count: int) -> list[Callable[[], int]]:
    """Receipts of other software on the same account, and of nobody who knows the secret."""
    form = {"to": "447700900001", "from": VIRTUAL_NUMBER, "client-ref": "another system's"}
    jobs: list[Callable[[], int]] = []
    for number in range(count):
        stranger = Post(form=form, message_ids=(new_id("0D"),), connection=1, at=0)
        jobs += [partial(_deliver, base_url, stranger, status="delivered")]
        ours = posts[number % len(posts)]
        jobs += [partial(_deliver, base_url, ours, status="forged", secret="guess" * 8)]
    return jobs


def _count(answers: list[int], report: Report) -> None:
    report.tried("receipts", answers.count(200))
    report.tried("forged receipts, refused", answers.count(401))
    for status in set(answers) - {200, 401}:
        report.found(f"{answers.count(status)} receipts were answered with {status}")


def _waiting() -> int:
    from bookings.models import OutboundMessage

    return OutboundMessage.objects.filter(state__in=["queued", "sending"]).count()


def _parked() -> Any:
    from bookings.models import DeliveryReceipt

    return DeliveryReceipt.objects.filter(attempt=None)


def _ours_parked(posts: dict[str, Post]) -> int:
    refs = {post.client_ref for post in posts.values()}
    ids = {message_id for post in posts.values() for message_id in post.message_ids}
    rows = _parked().values_list("client_ref", "gateway_message_id")
    return sum(ref in refs or message_id in ids for ref, message_id in rows)


def _bookings() -> list[Any]:
    from bookings.models import Booking, SlotChange

    rows = Booking.objects.order_by("pk").values_list("pk", "slot", "state")
    return [*rows, SlotChange.objects.count()]


def _states() -> dict[int, str]:
    from bookings.models import OutboundMessage

    return dict(OutboundMessage.objects.values_list("pk", "state"))


def _came_before_the_answer() -> int:
    from django.db.models import F

    from bookings.models import DeliveryReceipt

    return DeliveryReceipt.objects.filter(received_at__lt=F("attempt__settled_at")).count()


def _check_rows(texts: list[_Text], posts: dict[str, Post], others: int, report: Report) -> None:
    """Each thing that was said is here once, what is not ours is parked, what was forged is nowhere."""
    from bookings.models import DeliveryReceipt

    said = {
        (posts[text.msisdn].message_ids[part - 1], word, err_code, has_ref)
        for text in texts
        for part, word, err_code, has_ref in text.said
    }
    report.tried("different receipts of ours", len(said))
    stored = DeliveryReceipt.objects.count()
    if stored != len(said) + others:
        report.found(f"{stored} receipts are stored, {len(said)} and {others} of others were sent")
    if _parked().count() != others:
        report.found(f"{_parked().count()} receipts are parked, {others} belong to others")
    if DeliveryReceipt.objects.filter(status="forged").exists():
        report.found("a forged receipt was stored")


def _wrong(
    texts: Iterable[_Text], posts: dict[str, Post], state_of: Callable[[int], str]
) -> list[str]:
    faults = []
    for text in texts:
        expected = _join(text, len(posts[text.msisdn].message_ids))
        if state_of(text.message) != expected:
            faults.append(
                f"message {text.message} is {state_of(text.message)}, its receipts say {expected}:"
                f" {text.mode} {sorted(text.said)}"
            )
    return faults


def _join(text: _Text, parts: int) -> str:
    """What a text has come to, from the set of what was said: written without a look at the product's way.

    Of a send without an answer only those parts are known that something was said of.
    """
    known = set() if text.mode == _UNANSWERED else set(range(1, parts + 1))
    known |= {part for part, *_ in text.said}
    heard = [{word for part, word, *_ in text.said if part == each} for each in known]
    if not heard:
        return "unknown"
    if all("delivered" in words for words in heard):
        return "delivered"
    lost = [word for word in ("failed", "rejected", "expired") if word in set().union(*heard)]
    return lost[0] if lost else _reached(heard)


def _reached(heard: list[set[str]]) -> str:
    """As far as its slowest part."""
    if all(words & {"buffered", "delivered"} for words in heard):
        return "buffered"
    is_accepted = all(words & {"accepted", "buffered", "delivered"} for words in heard)
    return "accepted" if is_accepted else "submitted"


def _last_write_wins() -> dict[int, str]:
    """The bug that so many have: each receipt overwrites what is there."""
    from bookings.models import DeliveryReceipt

    known = DeliveryReceipt.objects.filter(attempt__isnull=False, status__in=_WORDS[:6])
    return dict(known.order_by("pk").values_list("attempt__message", "status"))

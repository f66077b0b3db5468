"""Campaign `receipts`: delivery receipts that are early, late, doubled, shuffled and contradictory.

The product's sender sends texts of one to three parts; each part then gets random receipts at the real webhook, from
many threads at once. The state of each text is computed here a second time, from the set of its receipts. Sizes are
texts.
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
from tests.fake_vonage import post_receipt
from tests.network import Post, new_id
from tests.processes import SECRET, VIRTUAL_NUMBER, wait_for

FULL, SMALL = 1000, 60

_STATUSES = (
    "accepted",
    "buffered",
    "delivered",
    "expired",
    "failed",
    "rejected",
    "unknown",
    "new!",
)
_LENGTHS = {1: 60, 2: 200, 3: 400}
#: Answers to the send, by their share: at once, after its receipts, never.
_EARLY, _UNANSWERED = "slow:1", "half_body"
_SENDS = {"ok": 7, _EARLY: 2, _UNANSWERED: 1}


@dataclass(frozen=True, slots=True)
class _Text:
    """One text to one customer, the answer to its send, and its receipts: (part, status, err-code, has client-ref)."""

    msisdn: str
    mode: str
    message: int
    receipts: tuple[tuple[int, str, str, bool], ...]


def run(environment: Environment, size: int, report: Report) -> None:
    """Send `size` texts, deliver their receipts early and late, and check the states of all texts."""
    texts = _queue(environment, size)
    before = _bookings()
    with (
        environment.web() as web,
        ThreadPoolExecutor(12) as threads,
        environment.sender("--threads", "16"),
    ):
        early = _send_all(environment, web.base_url, texts, threads)
        posts = {post.form["to"]: post for post in environment.network.posts}
        late = [
            job
            for text in texts
            if text.mode != _EARLY
            for job in _jobs(web.base_url, text, posts[text.msisdn])
        ]
        late += _others_and_forged(web.base_url, list(posts.values()), size // 10)
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
    naive = _states_if_last_receipt_wins()
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
        texts.append(_Text(msisdn, mode, message.pk, _draw_receipts(environment, parts, mode)))
    return texts


def _draw_receipts(
    environment: Environment, parts: int, mode: str
) -> tuple[tuple[int, str, str, bool], ...]:
    """Draw receipts: four in ten texts are simply delivered, the others get any receipts in any number."""
    statuses = _STATUSES if environment.random.random() < 0.6 else ("accepted", "delivered")
    receipts = [
        (part, "delivered", "0", True) for part in range(1, parts + 1) if len(statuses) == 2
    ]
    for _ in range(environment.random.randrange(5)):
        part, status = environment.random.randint(1, parts), environment.random.choice(statuses)
        # Without an answer we do not know the message ids: only the client-ref names the text.
        has_ref = mode == _UNANSWERED or environment.random.random() < 0.7
        receipts.append((part, status, str(environment.random.randrange(6)), has_ref))
    receipts += environment.random.choices(receipts, k=len(receipts) // 2) if receipts else []
    environment.random.shuffle(receipts)
    return tuple(receipts)


def _jobs(base_url: str, text: _Text, post: Post) -> list[Callable[[], int]]:
    return [
        partial(
            _deliver,
            base_url,
            post,
            part=part,
            status=status,
            err_code=err_code,
            scts="2611250900",
            **({} if has_ref else {"client_ref": None}),
        )
        for part, status, err_code, has_ref in text.receipts
    ]


def _deliver(base_url: str, post: Post, **fields: Any) -> int:
    """Deliver a receipt as Vonage does: again for as long as the answer is 503."""
    for wait in (0, 1, 2, 4, 8):
        time.sleep(wait)
        status = post_receipt(base_url, post, **({"secret": SECRET} | fields))
        if status != 503:
            return status
    return 503


def _send_all(
    environment: Environment, base_url: str, texts: list[_Text], threads: ThreadPoolExecutor
) -> "list[Future[int]]":
    """Wait until all texts have left. Some get their receipts while the sender still waits for its answer."""
    early = {text.msisdn: text for text in texts if text.mode == _EARLY}
    jobs: list[Future[int]] = []

    def have_left() -> bool:
        for post in list(environment.network.posts):
            if text := early.pop(post.form["to"], None):
                jobs.extend(threads.submit(job) for job in _jobs(base_url, text, post))
        return not early and not _waiting()

    wait_for(have_left, seconds=60 + len(texts))
    return jobs


def _others_and_forged(base_url: str, posts: list[Post], count: int) -> list[Callable[[], int]]:
    """Return receipts of other software on the same account, and forged ones."""
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
    """Report receipts of ours that are not stored once, of others that are not parked, and forged ones."""
    from bookings.models import DeliveryReceipt

    receipts = {
        (posts[text.msisdn].message_ids[part - 1], status, err_code, has_ref)
        for text in texts
        for part, status, err_code, has_ref in text.receipts
    }
    report.tried("different receipts of ours", len(receipts))
    stored = DeliveryReceipt.objects.count()
    if stored != len(receipts) + others:
        report.found(
            f"{stored} receipts are stored, {len(receipts)} and {others} of others were sent"
        )
    if _parked().count() != others:
        report.found(f"{_parked().count()} receipts are parked, {others} belong to others")
    if DeliveryReceipt.objects.filter(status="forged").exists():
        report.found("a forged receipt was stored")


def _wrong(
    texts: Iterable[_Text], posts: dict[str, Post], state_of: Callable[[int], str]
) -> list[str]:
    faults = []
    for text in texts:
        expected = _expected_state(text, len(posts[text.msisdn].message_ids))
        if state_of(text.message) != expected:
            faults.append(
                f"message {text.message} is {state_of(text.message)}, its receipts say {expected}:"
                f" {text.mode} {sorted(text.receipts)}"
            )
    return faults


def _expected_state(text: _Text, parts: int) -> str:
    """Compute the state of a text from the set of its receipts, independently of the product.

    Of a send without an answer only the parts with a receipt are known.
    """
    known = set() if text.mode == _UNANSWERED else set(range(1, parts + 1))
    known |= {part for part, *_ in text.receipts}
    heard = [{status for part, status, *_ in text.receipts if part == each} for each in known]
    if not heard:
        return "unknown"
    if all("delivered" in statuses for statuses in heard):
        return "delivered"
    lost = [status for status in ("failed", "rejected", "expired") if status in set().union(*heard)]
    return lost[0] if lost else _state_of_slowest_part(heard)


def _state_of_slowest_part(heard: list[set[str]]) -> str:
    """Return the state of its slowest part."""
    if all(statuses & {"buffered", "delivered"} for statuses in heard):
        return "buffered"
    is_accepted = all(statuses & {"accepted", "buffered", "delivered"} for statuses in heard)
    return "accepted" if is_accepted else "submitted"


def _states_if_last_receipt_wins() -> dict[int, str]:
    """Return the states of a product in which each receipt overwrites the state: a common bug."""
    from bookings.models import DeliveryReceipt

    known = DeliveryReceipt.objects.filter(attempt__isnull=False, status__in=_STATUSES[:6])
    return dict(known.order_by("pk").values_list("attempt__message", "status"))

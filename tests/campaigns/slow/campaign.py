"""Campaign `slow`: clients that stop in the header or in the body, or send a byte now and then.

Other clients must get their answers meanwhile: the median within 1 s, each within 5 s. The limits allow for a busy
machine; a server that waits for the stuck clients takes longer. Sizes are stuck sockets.
"""

import os
import socket
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.raw_http import (
    FORM,
    INBOUND,
    JSON,
    Address,
    address_of,
    as_form,
    as_json,
    ask,
    chunked,
    get,
    head,
    inbound,
    is_still_open,
    open_connections,
    post,
    with_signature,
)
from tests.campaigns.shared.report import Report
from tests.campaigns.shared.web_servers import NGINX, naive_webhook_server, web_behind_nginx

FULL, SMALL = 200, 200  # stuck sockets

_ASKED = 24  # valid webhooks for each kind of stuck socket
_DRIP_SECONDS = 0.2
_HELD_SECONDS = 8
_MEDIAN_SECONDS, _NEVER_SECONDS = 1, 5

_HALF_HEADER = f"POST {INBOUND} HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".encode()
_HALF_BODY = head("POST", INBOUND, "Content-Length: 400", f"Content-Type: {JSON}") + b'{"text": "'
#: The first bytes of each kind, and whether it goes on to send a byte every _DRIP_SECONDS.
_STUCK = {
    "half a header": (_HALF_HEADER, False),
    "half a body": (_HALF_BODY, False),
    "a dripping header": (_HALF_HEADER, True),
    "a dripping body": (_HALF_BODY, True),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A valid webhook, and its answer."""

    message_id: str
    status: int
    seconds: float


def run(environment: Environment, size: int, report: Report) -> None:
    """Try our web server, then nginx with granian, then the naive server as a control."""
    answers = []
    with environment.web() as web:
        answers += _try(environment, "the web that ships", address_of(web.base_url), size, report)
    if NGINX:
        with web_behind_nginx(environment) as base_url:
            answers += _try(environment, "nginx and granian", address_of(base_url), size, report)
    elif os.environ.get("CI") == "true":
        report.found("nginx is missing (Debian: apt install nginx)")
    else:
        report.figure("nginx and granian", "skipped: no nginx (Debian: apt install nginx)")
    _compare_with_stored(answers, report)
    with naive_webhook_server(environment) as base_url:
        _control_naive_server(environment, address_of(base_url), size, report)


def _try(
    environment: Environment, server: str, address: Address, size: int, report: Report
) -> list[_Asked]:
    alone = everything = _ask_many(environment, address)
    report.figure(f"{server}, nobody stuck: median and slowest (s)", _shown(alone))
    report.control(f"{server} answers while nobody is stuck", holds=_fault_in(alone) == "")
    for kind, (start, drips) in _STUCK.items():
        with open_connections(address, size, start) as clients, _dripping(clients, drips=drips):
            answers = _ask_many(environment, address)
            still = sum(map(is_still_open, clients))
        everything = [*everything, *answers]
        report.tried(f"webhooks beside {size} sockets with {kind}, {server}", len(answers))
        report.figure(f"{server}, {kind}: median and slowest (s)", _shown(answers))
        # Both servers close stuck sockets after 10 s, which on a busy machine is before the last webhook.
        in_time = sum(answer.seconds for answer in answers) < _HELD_SECONDS
        held_all = still == size or not in_time
        report.control("the stuck sockets were held all the while", holds=held_all)
        if fault := _fault_in(answers):
            report.found(f"{server}, {size} sockets with {kind}: {fault}")
    return everything


@contextmanager
def _dripping(clients: Sequence[socket.socket], *, drips: bool) -> Iterator[None]:
    """Send one more byte on each socket every _DRIP_SECONDS if `drips`."""
    ended = threading.Event()

    def drip() -> None:
        while drips and not ended.wait(_DRIP_SECONDS):
            for client in clients:
                with suppress(OSError):
                    client.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        yield
    finally:
        ended.set()
        dripping.join()


def _ask_many(environment: Environment, address: Address) -> list[_Asked]:
    """Send valid webhooks of each form, one after the other."""
    return [_ask(environment, address, number) for number in range(_ASKED)]


def _ask(environment: Environment, address: Address, number: int, *, seconds: float = 15) -> _Asked:
    fields = with_signature(inbound(environment.random))
    body = as_json(fields)
    forms = (
        post(INBOUND, body),
        post(INBOUND, as_form(fields), FORM),
        get(INBOUND, fields),
        post(INBOUND, chunked(body), JSON, "Transfer-Encoding: chunked", length=""),
    )
    answer = ask(address, [forms[number % len(forms)]], seconds=seconds)
    return _Asked(str(fields["messageId"]), answer.status, answer.seconds)


def _fault_in(answers: Sequence[_Asked]) -> str:
    """Return what is wrong with these answers, "" if nothing is."""
    statuses = {answer.status for answer in answers}
    times = [answer.seconds for answer in answers]
    if statuses != {200}:
        return f"a valid webhook got {sorted(statuses - {200})}"
    if statistics.median(times) >= _MEDIAN_SECONDS or max(times) >= _NEVER_SECONDS:
        return f"median and slowest answer took {_shown(answers)} s"
    return ""


def _shown(answers: Sequence[_Asked]) -> str:
    times = [answer.seconds for answer in answers]
    return f"{statistics.median(times):.3f}, {max(times):.3f}"


def _control_naive_server(
    environment: Environment, address: Address, size: int, report: Report
) -> None:
    """Show that a default waitress fails: it takes 100 connections and keeps each for two minutes."""
    alone = _ask(environment, address, 0)
    with open_connections(address, size, _HALF_HEADER):
        beside = _ask(environment, address, 0, seconds=2 * _MEDIAN_SECONDS)
    report.control("a naive server answers alone", holds=alone.status == 200)
    report.control("a naive server is caught", holds=_fault_in([beside]) != "")


def _compare_with_stored(answers: Sequence[_Asked], report: Report) -> None:
    """Report if the stored webhooks are not those that got a 200."""
    from bookings.models import InboundMessage

    stored = set(InboundMessage.objects.values_list("gateway_message_id", flat=True))
    report.figure("webhooks stored", len(stored))
    if stored != {answer.message_id for answer in answers if answer.status == 200}:
        report.found("what is stored is not what got a 200")

"""Compares the deliveries of a run with what is stored and what was sent, without the product's code.

A reply that got a 200 must have its effect once; one whose connection broke may have it, but not twice.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.campaigns.soak.customers import Customer
from tests.campaigns.soak.traffic import DeliveryAttempt

_CHOSEN = {"moved", "kept", "already"}
#: States of an acknowledgement that may not have been sent: its sender was killed, or a newer one replaced it.
_MAY_BE_MISSING = {"unknown", "cancelled", "sending"}

_INBOUND = "SELECT gateway_message_id, outcome FROM bookings_inboundmessage ORDER BY id"
_CHANGES = """
    SELECT b.msisdn, c.from_slot_id, c.to_slot_id, i.gateway_message_id FROM bookings_slotchange c
    JOIN bookings_booking b ON b.id = c.booking_id
    LEFT JOIN bookings_inboundmessage i ON i.id = c.inbound_id ORDER BY c.id
"""
_BOOKINGS = "SELECT msisdn, slot_id FROM bookings_booking"
_MESSAGES = """
    SELECT o.ref, i.gateway_message_id, o.state FROM bookings_outboundmessage o
    LEFT JOIN bookings_inboundmessage i ON i.id = o.in_reply_to_id
"""


@dataclass(frozen=True)
class Observations:
    """Stored rows, and the texts that reached the network."""

    inbound: Sequence[tuple[str, str]]  # id, outcome
    changes: Sequence[tuple[str, int, int, str]]  # customer, from, to, by which reply
    slots: dict[str, int]  # of each customer's booking
    messages: Sequence[tuple[str, str, str]]  # ref, in reply to, state
    posts: Sequence[tuple[str, str, str]]  # client-ref, customer, text


def collect_observations(database: str, posts: Iterable[tuple[str, str, str]]) -> Observations:
    """Read the database directly, without Django."""
    path = database.removeprefix("sqlite:///")
    driver: Any = sqlite3 if path != database else psycopg
    with closing(driver.connect(path)) as connection:

        def rows(sql: str) -> list[tuple]:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

        return Observations(
            rows(_INBOUND), rows(_CHANGES), dict(rows(_BOOKINGS)), rows(_MESSAGES), list(posts)
        )


def find_violations(
    deliveries: Sequence[DeliveryAttempt], customers: Iterable[Customer], observations: Observations
) -> Iterator[str]:
    """Yield a sentence for each broken promise."""
    yield from _wrong_answers(deliveries)
    applied = _replies_with_effect(deliveries, observations)
    yield from _wrong_rows(deliveries, observations)
    changes = defaultdict(list)
    for msisdn, *change in observations.changes:
        changes[msisdn].append(tuple(change))
    for customer in customers:
        yield from _wrong_moves(
            customer, applied[customer.msisdn], changes[customer.msisdn], observations
        )
    yield from _wrong_acknowledgements(applied, observations)
    yield from _wrong_last_texts(customers, applied, observations)


def _wrong_answers(deliveries: Sequence[DeliveryAttempt]) -> Iterator[str]:
    """Yield answers other than 200 and 503 with Retry-After, or other than 401 to a forged request."""
    for line in deliveries:
        if line.kind == "forged":
            if line.status not in {401, None}:
                yield f"{line.message_id}: forged, and answered with {line.status}"
        elif line.status not in {200, 503, None}:
            yield f"{line.message_id}: answered with {line.status}"
        elif line.status == 503 and not line.retry_after:
            yield f"{line.message_id}: 503 without Retry-After"


def _replies_with_effect(
    deliveries: Sequence[DeliveryAttempt], observations: Observations
) -> dict[str, list[DeliveryAttempt]]:
    """Return the replies that must have their effect, by customer and in order: those with a 200 and those stored."""
    stored = {message_id for message_id, _ in observations.inbound}
    found: dict[str, dict[str, DeliveryAttempt]] = defaultdict(dict)
    for line in deliveries:
        if line.kind == "reply" and (line.status == 200 or line.message_id in stored):
            found[line.msisdn].setdefault(line.message_id, line)
    return defaultdict(list, {msisdn: list(lines.values()) for msisdn, lines in found.items()})


def _wrong_rows(deliveries: Sequence[DeliveryAttempt], observations: Observations) -> Iterator[str]:
    rows = [message_id for message_id, _ in observations.inbound]
    for message_id in {line.message_id for line in deliveries if line.status == 200} - set(rows):
        yield f"{message_id}: LOST, answered with 200 and not stored"
    yield from _more_than_once(rows, "stored")
    for message_id in set(rows) - {line.message_id for line in deliveries if line.kind != "forged"}:
        yield f"{message_id}: stored, though no customer sent it"
    for message_id, outcome in observations.inbound:
        if outcome not in _CHOSEN:
            yield f"{message_id}: its outcome is {outcome or 'missing'}"


def _wrong_moves(
    customer: Customer,
    replies: list[DeliveryAttempt],
    changes: list[tuple],
    observations: Observations,
) -> Iterator[str]:
    """Yield moves of the booking other than those that the replies ask for, in their order."""
    slot, expected = customer.slots[1], []
    for reply in replies:
        wanted = customer.slots[reply.digit]
        if wanted != slot:
            expected.append((slot, wanted, reply.message_id))
        slot = wanted
    yield from _more_than_once([by_reply for *_, by_reply in changes], "its booking was moved")
    if changes != expected:
        yield f"{customer.reference}: WRONG MOVES, {changes} instead of {expected}"
    if observations.slots.get(customer.msisdn) != slot:
        yield f"{customer.reference}: WRONG SLOT, not where its last reply put it"


def _wrong_acknowledgements(
    applied: dict[str, list[DeliveryAttempt]], observations: Observations
) -> Iterator[str]:
    """Yield replies without exactly one acknowledgement, and acknowledgements that were posted twice."""
    answers = Counter(message_id for _, message_id, _ in observations.messages)
    replies = {reply.message_id for replies in applied.values() for reply in replies}
    for message_id in replies | set(answers):
        if answers[message_id] != (message_id in replies):
            yield f"{message_id}: {answers[message_id]} acknowledgements"
    refs = {ref for ref, _, _ in observations.messages}
    sent = [_ref(client_ref) for client_ref, _, _ in observations.posts]
    yield from _more_than_once(sent, "sent as an SMS")
    for ref in set(sent) - refs:
        yield f"{ref}: sent as an SMS that is not stored"


def _wrong_last_texts(
    customers: Iterable[Customer],
    applied: dict[str, list[DeliveryAttempt]],
    observations: Observations,
) -> Iterator[str]:
    """Yield customers whose last text names another slot than their booking's.

    The last acknowledgement may be missing if its sender was killed.
    """
    answered = {ref: message_id for ref, message_id, _ in observations.messages}
    state = {message_id: state for _, message_id, state in observations.messages}
    last = {
        to: (answered.get(_ref(client_ref)), text) for client_ref, to, text in observations.posts
    }
    for customer in customers:
        if not (replies := applied[customer.msisdn]):
            continue
        reply = replies[-1]
        message_id, text = last.get(customer.msisdn, ("", ""))
        if message_id == reply.message_id:
            if customer.words[reply.digit] not in text:
                yield f"{customer.reference}: WRONG WORDS, the last text names another slot: {text}"
        elif state.get(reply.message_id) not in _MAY_BE_MISSING:
            yield f"{customer.reference}: the last text does not answer the last reply"


def unsent_acknowledgements(observations: Observations) -> dict[str, int]:
    """Count the acknowledgements that have not reached the network, by their state."""
    posted = {_ref(client_ref) for client_ref, _, _ in observations.posts}
    return dict(Counter(state for ref, _, state in observations.messages if ref not in posted))


def _more_than_once(ids: Iterable[str], what: str) -> Iterator[str]:
    for one, times in Counter(ids).items():
        if times > 1:
            yield f"{one}: DOUBLED, {what} {times} times"


def _ref(client_ref: str) -> str:
    return client_ref.rpartition("-")[0]

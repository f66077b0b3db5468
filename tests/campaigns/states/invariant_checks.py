"""The checks after every step: stored rows against the reference model and the network."""

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from django.db import connection
from django.db.backends.utils import CursorWrapper

from bookings.models import Slot
from tests.campaigns.states.reference_model import ReferenceModel, require
from tests.campaigns.states.simulated_network import RANK, SimulatedNetwork
from tests.campaigns.states.sms_reader import SlotKey

DAY = dt.timedelta(hours=24)
CHOSEN = {"moved", "kept", "already"}

# SQL, since they run after every step and the ORM would need most of the campaign's time to build them.
_BOOKINGS = """SELECT reference, state, msisdn, place, date, window_start, window_end
    FROM bookings_booking b JOIN bookings_slot s ON s.id = b.slot_id ORDER BY b.id"""
_INBOUND = """SELECT id, gateway_message_id, msisdn, outcome, received_at
    FROM bookings_inboundmessage ORDER BY id"""
_MESSAGES = """SELECT id, ref, kind, state, msisdn, in_reply_to_id, queued_at
    FROM bookings_outboundmessage ORDER BY id"""
_ATTEMPTS = "SELECT client_ref, state FROM bookings_sendattempt ORDER BY id"
_OPTED_OUT = "SELECT msisdn FROM bookings_consent WHERE is_opted_out ORDER BY msisdn"
_TICKETS = "SELECT id, msisdn, owner_id, settlement FROM bookings_ticket ORDER BY id"
_RECEIPTS = "SELECT count(*) FROM bookings_deliveryreceipt"


@dataclass(frozen=True)
class DatabaseSnapshot:
    """All rows that a request could change. Times are compared only with one another."""

    bookings: list[tuple[str, str, str, str, dt.date, dt.time, dt.time]]
    inbound: list[tuple[int, str, str, str, dt.datetime]]
    messages: list[tuple[int, str, str, str, str, int | None, dt.datetime]]
    attempts: list[tuple[str, str]]
    opted_out: list[tuple[str]]
    tickets: list[tuple[int, str, int | None, str]]
    receipts: list[tuple[int]]

    @classmethod
    def take(cls) -> Self:
        """Read all rows."""
        queries = (_BOOKINGS, _INBOUND, _MESSAGES, _ATTEMPTS, _OPTED_OUT, _TICKETS, _RECEIPTS)
        with connection.cursor() as cursor:
            return cls(*(_all(cursor, query) for query in queries))

    @staticmethod
    def places() -> dict[str, SlotKey]:
        """Return the slot of each booking, by reference."""
        with connection.cursor() as cursor:
            return {row[0]: SlotKey(*row[3:]) for row in _all(cursor, _BOOKINGS)}

    @staticmethod
    def capacity_of(slot: SlotKey) -> int | None:
        """Return the stored capacity of a slot."""
        fields = dict(zip(("place", "date", "window_start", "window_end"), slot, strict=True))
        return Slot.objects.values_list("capacity", flat=True).get(**fields)


def _all(cursor: CursorWrapper, query: str) -> list[Any]:
    cursor.execute(query)
    rows: list[Any] = cursor.fetchall()
    return rows


def check_invariants(
    rows: DatabaseSnapshot,
    before: DatabaseSnapshot,
    model: ReferenceModel,
    network: SimulatedNetwork,
) -> None:
    """Raise InvariantViolation for the first promise that does not hold."""
    _check_inbound(rows, model)
    _check_schedule(rows, model)
    _check_answers(rows)
    _check_owners(rows)
    _check_sends(rows, network)
    _check_ranks(rows, before, network)
    require(
        [msisdn for (msisdn,) in rows.opted_out] == sorted(model.opted_out),
        "I8: other numbers have opted out than said so",
    )


def _check_inbound(rows: DatabaseSnapshot, model: ReferenceModel) -> None:
    came = sorted(key for _, key, *_ in rows.inbound)
    told = sorted(key for key in model.known if key.startswith("in-"))
    require(came == told, f"I1, I10: {len(came)} messages are kept, {len(told)} got a 200")
    require(
        rows.receipts == [(len(model.known) - len(told),)],
        "I1, I10: receipts are kept twice, or not",
    )
    outcomes = [outcome for *_, outcome, _ in rows.inbound]
    require(not {"error", ""} & set(outcomes), "I1: our rule failed on a message")


def _check_schedule(rows: DatabaseSnapshot, model: ReferenceModel) -> None:
    found = {
        reference: (state, msisdn, SlotKey(place, date, start, end))
        for reference, state, msisdn, place, date, start, end in rows.bookings
    }
    for reference, delivery in model.deliveries.items():
        state = "cancelled" if delivery.is_cancelled else "scheduled"
        wanted = (state, delivery.msisdn, delivery.slot)
        require(found[reference] == wanted, f"I2: {reference} is {found[reference]}, not {wanted}")
    load = Counter(slot for state, _, slot in found.values() if state == "scheduled")
    for slot, count in load.items():
        capacity = model.capacity.get(slot)
        require(capacity is None or count <= capacity, f"I9: {count} deliveries in {slot}")


def _check_answers(rows: DatabaseSnapshot) -> None:
    """Require at most one answer for each reply, and three a day to a number that does not choose."""
    answered = Counter(row[5] for row in rows.messages if row[5] is not None)
    require(max(answered.values(), default=0) <= 1, "I3: a text was answered twice")
    outcomes = {pk: outcome for pk, _, _, outcome, _ in rows.inbound}
    unasked: dict[str, list[dt.datetime]] = {}
    for _, _, kind, state, msisdn, reply, queued_at in rows.messages:
        is_counted = kind in {"acknowledgement", "re_prompt"} and state != "cancelled"
        if reply and is_counted and outcomes[reply] not in {*CHOSEN, "opted_in"}:
            unasked.setdefault(msisdn, []).append(queued_at)
    for msisdn, moments in unasked.items():
        chosen = [
            at for _, _, who, outcome, at in rows.inbound if who == msisdn and outcome in CHOSEN
        ]
        for first, fourth in zip(moments, moments[3:], strict=False):
            is_row = fourth - first < DAY and not any(first < at <= fourth for at in chosen)
            require(not is_row, "row 41: more than three automatic answers in a day")


def _check_owners(rows: DatabaseSnapshot) -> None:
    """Require that a customer's open tickets have at most one owner."""
    owners: dict[str, set[int]] = {}
    for _, msisdn, owner, settlement in rows.tickets:
        if owner is not None and not settlement:
            owners.setdefault(msisdn, set()).add(owner)
    require(all(len(found) == 1 for found in owners.values()), "two people have one customer")


def _check_sends(rows: DatabaseSnapshot, network: SimulatedNetwork) -> None:
    for _, ref, kind, *_ in rows.messages:
        most = 2 if kind in {"notification", "told"} else 1
        tries = network.tries[ref]
        require(tries <= most, f"I4: a text of kind {kind} left us {tries} times")


def _check_ranks(
    rows: DatabaseSnapshot, before: DatabaseSnapshot, network: SimulatedNetwork
) -> None:
    """Require that states never fall back, and that an attempt's state is that of its receipts."""
    earlier = dict(before.attempts)
    for client_ref, state in rows.attempts:
        was = earlier.get(client_ref, "sending")
        is_proven = was in RANK and RANK.index(was) >= RANK.index("submitted")
        fell = is_proven and (state not in RANK or RANK.index(state) < RANK.index(was))
        require(not fell, f"I6: an attempt fell from {was} to {state}")
        post = network.accepted_texts.get(client_ref)
        expected = post.state() if post else None
        require(
            expected in {None, state}, f"I5, I6: an attempt is {state}, by its receipts {expected}"
        )
    states = {row[0]: row[3] for row in rows.messages}
    for pk, _, _, was, *_ in before.messages:
        require(
            was != "delivered" or states[pk] == was,
            f"I6: a message fell from {was} to {states[pk]}",
        )

"""How the machine stands: what waits, the circuit, who sends, and what came last."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Min
from django.urls import NoReverseMatch

from bookings import figures
from bookings.admin.bars import Figure, age, how_long, list_of
from bookings.history import moment, visible
from bookings.models import (
    Circuit,
    Concern,
    DeliveryReceipt,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Sender,
)
from bookings.outbox import holding


def _concerns(now: dt.datetime) -> list[Figure]:
    count = Concern.objects.waiting().count()
    try:
        link = list_of(Concern)
    except NoReverseMatch:  # its page is not part of this installation
        link = ""
    oldest = age("oldest", figures.oldest_concern(), now)
    return [Figure("Waiting for a person", count, link, oldest, is_bad=count > 0)]


def _outbox(now: dt.datetime) -> list[Figure]:
    queued = OutboundMessage.objects.queued()
    due = queued.filter(due_at__lte=now)
    held = holding.held().count()
    oldest = age("oldest", due.aggregate(at=Min("due_at"))["at"], now)
    state = {"state__exact": MessageState.QUEUED.value}
    return [
        Figure("Texts due now", due.count(), list_of(OutboundMessage, trouble="due"), oldest),
        Figure("Texts queued, also for later", queued.count(), list_of(OutboundMessage, **state)),
        Figure(
            "Held texts",
            held,
            list_of(OutboundMessage, trouble="held"),
            "release or drop them" if held else "",
            is_bad=held > 0,
        ),
    ]


def _circuit(now: dt.datetime) -> list[Figure]:
    circuit = Circuit.current()
    if circuit.opened_at is None:
        return [Figure("Circuit", "closed", list_of(Circuit), "texts are sent")]
    note = f"{age('since', circuit.opened_at, now)}: {visible(circuit.reason)}"
    return [Figure("Circuit", "open", list_of(Circuit), note, is_bad=True)]


def _senders(_: dt.datetime) -> list[Figure]:
    """Those at work now; when others were last seen. They have no list: here they are."""
    seen = list(Sender.objects.values_list("name", "seen_at")[:5])
    names = "; ".join(f"{visible(name)} at {moment(at)}" for name, at in seen)
    return [Figure("Senders last seen", len(seen) or "none", "", names, is_bad=not seen)]


def _inbound(now: dt.datetime) -> list[Figure]:
    return [_last("Last text from a customer", InboundMessage, now)]


def _receipt(now: dt.datetime) -> list[Figure]:
    return [_last("Last delivery receipt", DeliveryReceipt, now)]


def _last(label: str, model: type[Any], now: dt.datetime) -> Figure:
    latest = model.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    if latest is None:
        return Figure(label, "none yet", list_of(model))
    return Figure(label, moment(latest), list_of(model), f"{how_long(latest, now)} ago")


#: By the table that one must be allowed to view.
_PARTS: Mapping[str, Callable[[dt.datetime], list[Figure]]] = {
    "concern": _concerns,
    "outboundmessage": _outbox,
    "circuit": _circuit,
    "sender": _senders,
    "inboundmessage": _inbound,
    "deliveryreceipt": _receipt,
}


def machine(now: dt.datetime, may: Mapping[str, bool]) -> list[Figure]:
    """What somebody sees of it who may view these tables."""
    return [figure for table, part in _PARTS.items() if may[table] for figure in part(now)]

"""How the machine stands: what waits, the circuit, who sends, and what came last."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Min, Q
from django.db.models.functions import Now

from bookings.admin.dashboard.bars import Figure, age, how_long, list_of
from bookings.models import (
    Circuit,
    DeliveryReceipt,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Sender,
    Ticket,
)
from bookings.operations.alarms import SENDER_WITHIN
from bookings.outbox import holding
from bookings.reporting.timeline import moment, visible

_SENDERS = 5  # named, the latest first


def _tickets(now: dt.datetime) -> list[Figure]:
    waiting = Ticket.objects.waiting().aggregate(count=Count("*"), since=Min("raised_at"))
    count, oldest = waiting["count"], age("oldest", waiting["since"], now)
    return [Figure("Needs attention", count, list_of(Ticket), oldest, is_bad=count > 0)]


def _outbox(now: dt.datetime) -> list[Figure]:
    is_due = Q(due_at__lte=now)
    queued = OutboundMessage.objects.queued().aggregate(
        count=Count("pk"), due=Count("pk", filter=is_due), since=Min("due_at", filter=is_due)
    )
    held = holding.held().count()
    oldest = age("oldest", queued["since"], now)
    state = {"state__exact": MessageState.QUEUED.value}
    return [
        Figure("Due now", queued["due"], list_of(OutboundMessage, trouble="due"), oldest),
        Figure("Queued (including scheduled)", queued["count"], list_of(OutboundMessage, **state)),
        Figure(
            "On hold",
            held,
            list_of(OutboundMessage, trouble="held"),
            "release or cancel" if held else "",
            is_bad=held > 0,
        ),
    ]


def _circuit(now: dt.datetime) -> list[Figure]:
    circuit = Circuit.current()
    if circuit.opened_at is None:
        return [Figure("Sending", "on", list_of(Circuit))]
    note = f"{age('since', circuit.opened_at, now)}: {visible(circuit.reason)}"
    return [Figure("Sending", "paused", list_of(Circuit), note, is_bad=True)]


def _senders(_: dt.datetime) -> list[Figure]:
    """Those at work now, by the database's clock; with the others of the day by name, since they have no list."""
    is_at_work = Q(seen_at__gt=Now() - SENDER_WITHIN)
    senders = Sender.objects.annotate(is_at_work=ExpressionWrapper(is_at_work, BooleanField()))
    seen = list(senders.values_list("name", "seen_at", "is_at_work")[:_SENDERS])
    at_work = sum(works for _, _, works in seen)
    names = "; ".join(f"{visible(name)} seen {moment(at)}" for name, at, _ in seen)
    return [Figure("Sender processes", at_work or "none", "", names, is_bad=not at_work)]


def _inbound(now: dt.datetime) -> list[Figure]:
    return [_last("Last reply received", InboundMessage, now)]


def _receipt(now: dt.datetime) -> list[Figure]:
    return [_last("Last delivery receipt", DeliveryReceipt, now)]


def _last(label: str, model: type[Any], now: dt.datetime) -> Figure:
    latest = model.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    if latest is None:
        return Figure(label, "none yet", list_of(model))
    return Figure(label, moment(latest), list_of(model), f"{how_long(latest, now)} ago")


#: By the table that one must be allowed to view.
_PARTS: Mapping[str, Callable[[dt.datetime], list[Figure]]] = {
    "ticket": _tickets,
    "outboundmessage": _outbox,
    "circuit": _circuit,
    "sender": _senders,
    "inboundmessage": _inbound,
    "deliveryreceipt": _receipt,
}


def machine(now: dt.datetime, may: Mapping[str, bool]) -> list[Figure]:
    """What somebody sees of it who may view these tables."""
    return [figure for table, part in _PARTS.items() if may[table] for figure in part(now)]

"""The demo's company at work: it asks customers and sends texts, one event after the other, all in memory.

Why not by the product's own functions: each reads the clock and asks the database some thirty times, and a fortnight
would take minutes. The words, the rule and the states are the product's own, and a test compares the rows.
"""

import datetime as dt
import functools
import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from bookings.customers.tickets import NO_RECEIPT_AFTER
from bookings.gateways import Verdict
from bookings.language import encoding
from bookings.management.demo.ledger import Ledger, Sent, settle
from bookings.models import (
    Booking,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Place,
    SendAttempt,
    SentPart,
    Slot,
    SlotOption,
)
from bookings.models.fields import country_of
from bookings.notifications import drafts
from bookings.outbox.queueing import priority_of
from bookings.outbox.spending import price_per_part
from bookings.scheduling.digits import first_block
from bookings.scheduling.slots import find_or_create

Act: TypeAlias = Callable[[dt.datetime], None]

_NETWORK = "00101"  # the simulator's
_SECOND = dt.timedelta(seconds=1)
_SHARE_SLOW = 0.03  # of the texts that arrive


@dataclass(frozen=True, slots=True)
class Fate:
    """Return the fate of a text: the receipts' status and error code, and the delay; "" for no receipt at all."""

    status: str = "delivered"
    err_code: str = "0"
    after: dt.timedelta = 3 * _SECOND


@dataclass(slots=True)
class Company:
    """The events at the company until `now`, as rows in `ledger`. Events run in the order of their moments."""

    now: dt.datetime
    users: dict[str, User]
    chance: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    slots: dict[tuple[str, dt.date, dt.time], Slot] = field(default_factory=dict)
    load: Counter[int] = field(default_factory=Counter)  # scheduled bookings, by slot id
    bookings: dict[str, list[Booking]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[str, list[Notification]] = field(default_factory=lambda: defaultdict(list))
    printed: dict[int, list[SlotOption]] = field(default_factory=dict)  # by notification id
    texts: dict[str, list[OutboundMessage]] = field(default_factory=lambda: defaultdict(list))
    opted_out: set[str] = field(default_factory=set)
    bad_phones: dict[str, Fate] = field(default_factory=dict)
    on_asked: Callable[[Notification, dt.datetime], None] = lambda asked, at: None
    on_lost: Callable[[OutboundMessage, dt.datetime], None] = lambda message, at: None
    on_silent: Callable[[OutboundMessage, dt.datetime], None] = lambda message, at: None
    _due: list[tuple[dt.datetime, int, Act]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def sender(self) -> str:
        """Our number that customers reply to."""
        number: str = settings.VONAGE_NUMBERS[0]
        return number

    # Events

    def at(self, moment: dt.datetime, act: Callable[..., None], *about: object) -> None:
        """Let `act(*about, moment)` happen at that moment, if it has come by now."""
        if moment <= self.now:
            due: Act = functools.partial(act, *about)
            heapq.heappush(self._due, (moment, next(self._order), due))

    def run(self) -> None:
        """Let everything happen that is due, and all that follows from it."""
        while self._due:
            moment, _, act = heapq.heappop(self._due)
            act(moment)

    def seconds(self, least: float, most: float) -> dt.timedelta:
        """Draw a duration."""
        return dt.timedelta(seconds=self.chance.uniform(least, most))

    # Slots

    def add_slots(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            self.slots[slot.place, slot.date, slot.window_start] = slot

    def add_bookings(self, bookings: Iterable[Booking]) -> None:
        """Take these bookings, which are stored, into account."""
        for booking in bookings:
            self.bookings[booking.msisdn].append(booking)
            self.load[booking.slot_id] += booking.is_scheduled

    def has_room(self, slot: Slot) -> bool:
        return slot.capacity is None or self.load[slot.pk] < slot.capacity

    def offered(self, booked: Slot, at: dt.datetime) -> list[Slot]:
        """The slots to offer: the booked one, its window on the next day with room, the post office."""
        later = (
            self.slots.get(
                (Place.DOOR, booked.date + dt.timedelta(days=ahead), booked.window_start)
            )
            for ahead in range(1, 7)
        )
        next_day = next((slot for slot in later if slot is not None and self.has_room(slot)), None)
        found = [
            booked,
            next_day,
            self._post_office(booked) if settings.OFFER_POST_OFFICE else None,
        ]
        return [slot for slot in found if slot is not None and slot.cutoff_at > at]

    def _post_office(self, booked: Slot) -> Slot:
        key = (Place.POST_OFFICE, booked.date, booked.window_start)
        if key not in self.slots:
            new = Slot(
                place=Place.POST_OFFICE,
                date=booked.date,
                window_start=booked.window_start,
                window_end=booked.window_end,
            )
            self.slots[key] = find_or_create(new)
        return self.slots[key]

    # Asking

    def ask(
        self, booking: Booking, at: dt.datetime, *, key: str, user: User | None = None
    ) -> Notification | None:
        """Ask a customer, and hand the text over at once. None if this customer cannot be asked."""
        first = first_block(self._digits_taken(booking.msisdn, at))
        draft = drafts.write_draft(
            booking, self.offered(booking.slot, at), first, sender=self.sender, now=at
        )
        handed_over_at = at + self.seconds(0.05, 0.4)
        asked = Notification.objects.create(
            booking=booking,
            msisdn=booking.msisdn,
            virtual_number=self.sender,
            slot=booking.slot,
            closes_at=draft.closes_at,
            handed_over_at=handed_over_at,
            asked_by=user,
            created_at=at,
        )
        self.printed[asked.pk] = [
            SlotOption(
                notification=asked,
                msisdn=booking.msisdn,
                digit=option.digit,
                words=option.words,
                slot=option.slot,
            )
            for option in draft.options
        ]
        self.ledger.options += self.printed[asked.pk]
        self.asked[booking.msisdn].append(asked)
        message = self.queue(
            Kind.NOTIFICATION,
            draft.text,
            at,
            msisdn=booking.msisdn,
            booking=booking,
            notification=asked,
            user=user,
            key=key,
            valid_until=draft.valid_until,
        )
        self.hand_over(message, handed_over_at)
        self.on_asked(asked, handed_over_at)
        return asked

    def why_not_asked(self, booking: Booking, at: dt.datetime) -> str:
        return drafts.why_not_asked(booking, at, is_opted_out=booking.msisdn in self.opted_out)

    def open_notification(self, booking: Booking, at: dt.datetime) -> Notification | None:
        """The notification about a booking that can still be answered."""
        asked = (each for each in self.asked[booking.msisdn] if each.booking == booking)
        return next((each for each in asked if each.is_open_at(at)), None)

    def withdraw(self, booking: Booking, at: dt.datetime, because: str) -> None:
        asked = self.open_notification(booking, at)
        if asked is not None:
            asked.end(NotificationState.WITHDRAWN, at, because)

    def _digits_taken(self, msisdn: str, at: dt.datetime) -> set[int]:
        """The digits that mean something to this customer; those that have rested long enough are let go."""
        rest = dt.timedelta(hours=settings.REPLY_DIGIT_REST_HOURS)
        taken = set()
        for asked in self.asked[msisdn]:
            ended_at = asked.closed_at or asked.closes_at
            for option in self.printed[asked.pk]:
                option.is_held = ended_at + rest > at
                taken |= {option.digit} if option.is_held else set()
        return taken

    # Texts

    def queue(
        self,
        kind: Kind,
        text: str,
        at: dt.datetime,
        *,
        msisdn: str,
        key: str | Callable[[], str],
        valid_until: dt.datetime,
        booking: Booking | None = None,
        notification: Notification | None = None,
        in_reply_to: InboundMessage | None = None,
        user: User | None = None,
    ) -> OutboundMessage:
        """Queue a text as `outbox.queue` does. A key that names a row without an id yet comes as a function."""
        message = OutboundMessage(
            kind=kind,
            priority=priority_of(kind),
            msisdn=msisdn,
            sender=self.sender,
            text=text,
            parts=encoding.count_parts(text),
            booking=booking,
            notification=notification,
            in_reply_to=in_reply_to,
            told_state=booking.state if booking and kind == Kind.TOLD else "",
            user=user,
            gateway=settings.SMS_GATEWAY,
            queued_at=at,
            due_at=at,
            valid_until=valid_until,
        )
        if callable(key):
            self.ledger.named_later.append((message, "idempotency_key", key))
        else:
            message.idempotency_key = key
        self.ledger.outbound.append(message)
        self.texts[msisdn].append(message)
        return message

    def hand_over(self, message: OutboundMessage, at: dt.datetime) -> None:
        """Let the gateway take it, and its receipts come as the phone will have it."""
        country = country_of(message.msisdn)
        price = price_per_part(country)
        attempt = SendAttempt(
            message=message,
            number=1,
            client_ref=f"{message.ref}-1",
            token=f"{self.chance.getrandbits(128):032x}",
            call_started_at=at,
            settled_at=at + self.seconds(0.08, 0.3),
            verdict=Verdict.ACCEPTED,
            code="0",
            country=country,
            cost=price * message.parts,
            counted_parts=message.parts,
            spent_on=timezone.localdate(at),
        )
        message.call_started_at = at
        sent = Sent(message, attempt)
        sent.parts = [
            SentPart(
                attempt=attempt, gateway_message_id=self.gateway_id(), price=price, network=_NETWORK
            )
            for _ in range(message.parts)
        ]
        self.ledger.sent.append(sent)
        settle(sent)
        fate = self.bad_phones.get(message.msisdn) or Fate(after=self._usual_delay())
        if fate.status:
            self.at(at + fate.after, self._receive, sent, fate, price)
        else:
            missed_at = at + NO_RECEIPT_AFTER + self.seconds(1, 9)
            self.at(missed_at, self.on_silent, message)

    def _usual_delay(self) -> dt.timedelta:
        is_slow = self.chance.random() < _SHARE_SLOW
        return self.seconds(40, 200) if is_slow else self.seconds(1.5, 12)

    def _receive(self, sent: Sent, fate: Fate, price: Decimal, at: dt.datetime) -> None:
        """The receipts, one for each part."""
        for part in sent.parts:
            fields = {
                "api-key": settings.VONAGE_API_KEY or "simulator",
                "msisdn": sent.message.msisdn,
                "to": sent.message.sender,
                "network-code": _NETWORK,
                "messageId": part.gateway_message_id,
                "price": f"{price:.8f}",
                "status": fate.status,
                "scts": f"{timezone.localtime(at):%y%m%d%H%M}",
                "err-code": fate.err_code,
                "client-ref": sent.attempt.client_ref,
                "message-timestamp": f"{at:%Y-%m-%d %H:%M:%S}",
            }
            sent.receipts.append(
                DeliveryReceipt(
                    attempt=sent.attempt,
                    gateway_message_id=part.gateway_message_id,
                    client_ref=sent.attempt.client_ref,
                    msisdn=sent.message.msisdn,
                    status=fate.status,
                    err_code=fate.err_code,
                    price=fields["price"],
                    network_code=_NETWORK,
                    scts=fields["scts"],
                    sent_at=at.replace(microsecond=0),
                    received_at=at,
                    raw=fields,
                )
            )
        settle(sent)
        if sent.message.state != MessageState.DELIVERED:
            self.on_lost(sent.message, at)

    def gateway_id(self) -> str:
        """A message id as the simulator makes them."""
        return f"SIM{self.chance.getrandbits(68):017X}"

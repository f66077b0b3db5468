"""One round of the race: new days, new customers, and acts on them at the same instant."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any

from bookings.scheduling.capacity import count_booked
from tests.processes import SECRET, VIRTUAL_NUMBER

THREADS = 8

_ROUNDS_PER_HOUR = 100  # three days each, within the year that the notify form allows

Act = Callable[[], Any]
_message_ids = count(1)


class SimultaneousCalls:
    """Runs acts in eight threads, which connect to the database first and then start at the same instant."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS)

    def do(self, *acts: Act) -> list[Any]:
        """Run the acts; returns for each its result or the exception that it raised."""
        barrier = Barrier(len(acts), timeout=30)
        return list(self._threads.map(lambda act: _wait_and_do(act, barrier), acts))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


def _wait_and_do(act: Act, barrier: Barrier) -> Any:
    from django.db import connection

    try:
        connection.ensure_connection()
        barrier.wait()
        return act()
    except Exception as error:  # reported as a fault of the round
        return error
    finally:
        connection.close()


class RecordingGateway:
    """A gateway that accepts every text and counts it."""

    name = "vonage"

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def send(self, sms: Any) -> Any:
        """Accept the text and count its client-ref."""
        from bookings.gateways import PartResult, SendResult, Verdict

        self.taken[sms.client_ref] += 1
        part = PartResult(status="0", message_id=f"part-{sms.client_ref}")
        return SendResult(verdict=Verdict.ACCEPTED, parts=(part,), code="0")

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class RaceRound:
    """Customers in a new slot; on the next day one place is left, on the day after there is room.

    `faults` are the promises that this round broke.
    """

    def __init__(
        self, number: int, simultaneous: SimultaneousCalls, sessions: list[Any], user: Any
    ) -> None:
        self._number, self._simultaneous = number, simultaneous
        self._sessions, self._user = sessions, user
        self._gateway = RecordingGateway()
        self.faults: list[str] = []
        self._set_up()

    def _set_up(self) -> None:
        from bookings.models import Booking, Slot
        from bookings.notifications.asking import notify

        hour, place = divmod(self._number, _ROUNDS_PER_HOUR)
        first = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3 + 3 * place)
        self.booked, self.tight, self.roomy = (  # an earlier round may have created one of them
            Slot.objects.update_or_create(
                date=first + dt.timedelta(days=day),
                window_start=dt.time(7 + hour),
                window_end=dt.time(8 + hour),
                defaults={"capacity": capacity},
            )[0]
            for day, capacity in enumerate([None, 2, None])
        )
        self.bookings = [
            Booking.objects.create(reference=f"R-{self._number}-{name}", msisdn=msisdn, slot=slot)
            for name, msisdn, slot in zip("ABCLDX", self._msisdns(), self._slots(), strict=True)
        ]
        self.asked = [notify(booking) for booking in self.bookings[:5]]

    def _msisdns(self) -> Iterator[str]:
        return (f"4473{self._number:06}{phone:02}" for phone in range(6))

    def _slots(self) -> list[Any]:
        return [self.booked] * 5 + [self.tight]

    def run(self) -> None:
        """Notifications go out; replies, dispatch and the last place; clicks, parts, asking again; answers go out."""
        self._send_all()
        self._replies()
        self._clicks()
        self._send_all()
        self._verify()

    # What is done at the same instant

    def _replies(self) -> None:
        from bookings.dispatch import bookings as dispatch

        racer, other, third, *_ = self.bookings

        def move() -> Any:
            return dispatch.move(racer, self.roomy, user=self._user)

        same, another = _reply(racer, "2"), _reply(racer, "3")
        replies = [_reply(other, "2"), _reply(third, "2")]
        self._expect_200(self._simultaneous.do(*[same] * 3, *[another] * 2, move, *replies))

    def _clicks(self) -> None:
        from bookings.notifications.asking import notify

        long, asked = self.bookings[3], self.bookings[4]
        form = {
            "number": f"+4473{self._number:06}90",
            "slot": str(self.roomy.pk),
            "nonce": f"race-{self._number:016}",
        }
        clicks = [_click(session, form) for session in self._sessions]
        parts = [_reply(long, "post ", part=1), _reply(long, "office", part=2)]
        again = [lambda: notify(asked), lambda: notify(asked)]
        said = self._simultaneous.do(*clicks, *parts, parts[1], *again)
        if said[:3] != [302] * 3:
            self.faults.append(f"the three clicks were answered with {said[:3]}")
        self._expect_200(said[3:])

    def _send_all(self) -> None:
        """Claim and hand over in eight threads until nothing is left to claim."""
        from bookings.outbox import claiming
        from bookings.outbox.sending import hand_over

        def claim_all() -> list[int]:
            claimed: list[int] = []
            while (found := claiming.claim(3)).wait is not None:
                for message in found.messages:
                    hand_over(message, self._gateway)
                claimed += [message.pk for message in found.messages]
            return claimed

        said = self._simultaneous.do(*[claim_all] * THREADS)
        self._expect_200(answer for answer in said if not isinstance(answer, list))
        claims = Counter(pk for each in said if isinstance(each, list) for pk in each)
        self.faults += [f"message {pk} was claimed {n} times" for pk, n in claims.items() if n > 1]

    def _expect_200(self, said: Any) -> None:
        """Report answers other than 200. A 503 is a lock error, as is any exception."""
        for answer in said:
            if isinstance(answer, Exception) or (isinstance(answer, int) and answer != 200):
                self.faults.append(f"answered with {answer!r}")

    # What must be so afterwards

    def _verify(self) -> None:
        from bookings.models import Booking

        self.faults += [
            f"{ref} was taken {n} times" for ref, n in self._gateway.taken.items() if n > 1
        ]
        for booking in Booking.objects.filter(reference__startswith=f"R-{self._number}-"):
            self.faults += _wrong_with(booking)
        for slot in (self.booked, self.tight, self.roomy):
            if slot.capacity is not None and count_booked(slot) > slot.capacity:
                self.faults.append(f"slot {slot} holds {count_booked(slot)}")
        self.faults += self._wrong_with_the_click()
        self.faults += self._wrong_with_the_parts()

    def _wrong_with_the_click(self) -> Iterator[str]:
        from bookings.models import Notification, OutboundMessage

        msisdn = f"4473{self._number:06}90"
        asked = Notification.objects.filter(msisdn=msisdn).count()
        queued = OutboundMessage.objects.filter(msisdn=msisdn).count()
        if (asked, queued) != (1, 1):
            yield f"three clicks made {asked} notifications and {queued} texts"

    def _wrong_with_the_parts(self) -> Iterator[str]:
        from bookings.models import InboundMessage, Place

        long = self.bookings[3]
        long.refresh_from_db()
        parts = InboundMessage.objects.filter(msisdn=long.msisdn)
        whole = list(parts.exclude(whole="").values_list("whole", "outcome"))
        if whole != [("post office", "moved")] or parts.count() != 2:
            yield f"a long reply became {whole}, in {parts.count()} parts"
        if long.slot.place != Place.POST_OFFICE:
            yield "a long reply moved nothing"


def _wrong_with(booking: Any) -> Iterator[str]:
    """Yield breaks in the chain of a booking's slot changes, and replies with more than one effect."""
    changes = booking.slot_changes.order_by("pk").values_list("from_slot", "to_slot")
    ends = [to_slot for _, to_slot in changes]
    if [from_slot for from_slot, _ in changes[1:]] != ends[:-1]:
        yield f"{booking}: a change began in a slot that it was not in"
    if ends and ends[-1] != booking.slot_id:
        yield f"{booking} is not where its last change led"
    notifications = booking.notifications.open().count()
    if notifications > 1:
        yield f"{booking} has {notifications} open notifications"
    for inbound in booking.inbound_messages.all():
        effects = (inbound.slot_changes.count(), inbound.answers.count())
        if max(effects) > 1 or inbound.outcome == "error":
            yield f"{booking}: a reply ({inbound.outcome}) moved it and was answered {effects} times"


def _reply(booking: Any, text: str, *, part: int = 0) -> Act:
    """Return an act that posts a reply to the inbound webhook, with the same message id each time."""
    from django.test import Client

    from bookings.gateways.signature import sign

    fields = {
        "msisdn": booking.msisdn,
        "to": VIRTUAL_NUMBER,
        "messageId": f"0D{next(_message_ids):014X}",
        "text": text,
    }
    if part:
        fields |= {
            "concat": "true",
            "concat-ref": "7",
            "concat-total": "2",
            "concat-part": f"{part}",
        }
    fields["sig"] = sign(fields, SECRET, "sha256")
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    return lambda: (
        client.post("/webhooks/inbound-sms", fields, content_type="application/json").status_code
    )


def _click(session: Any, form: dict[str, str]) -> Act:
    return lambda: session.post("/notify", form).status_code

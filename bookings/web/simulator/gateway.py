"""The simulated mobile network, for development, the demo and tests. It reaches no real phone.

It posts the fields that Vonage posts, signed in the same way, to the same webhooks.
"""

import heapq
import itertools
import json
import logging
import secrets
import threading
import uuid
from collections.abc import Mapping
from time import monotonic
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings
from django.utils import timezone

from bookings.gateways import OutgoingSMS, PartResult, SendResult, Verdict
from bookings.gateways.signature import sign
from bookings.language.encoding import count_parts
from bookings.models import SimulatedPhone

logger = logging.getLogger(__name__)

RECEIPT_AFTER = 1.0  # seconds: long enough to see "sent" before "delivered"
LATE_REPLY_AFTER = 20.0
_TRIES = 3
_TRY_AGAIN_AFTER = 1.0
_TIMEOUT = 5.0
_LONGEST_FAREWELL = 4.0
_NETWORK = "00101"  # MCC 001 is set aside for tests

_opener = build_opener(ProxyHandler({}))  # we post to ourselves: past any proxy


class SimulatorGateway:
    """Accepts every SMS and posts its delivery receipts one second later. Thread-safe."""

    name = "simulator"

    def __init__(self) -> None:
        self._postman = _Postman()

    def send(self, sms: OutgoingSMS) -> SendResult:
        """Accept one SMS. Its receipts, one for each part, go to the webhook at `SIMULATOR_BASE_URL`."""
        phone = phone_of(sms.to)
        parts = tuple(
            PartResult(message_id=_message_id(), status="0", price="0.00000000", network=_NETWORK)
            for _ in range(count_parts(sms.text))
        )
        if not phone.stays_silent:
            for part in parts:
                self._postman.post_later(_receipt(sms, part.message_id, fails=phone.fails))
        return SendResult(verdict=Verdict.ACCEPTED, code="0", parts=parts)

    def close(self) -> None:
        """Wait up to 4 s until all pending receipts are posted."""
        self._postman.finish()


def phone_of(msisdn: str) -> SimulatedPhone:
    """Return the settings of this customer's phone; an unsaved row with the defaults if nobody changed them."""
    return SimulatedPhone.objects.filter(msisdn=msisdn).first() or SimulatedPhone(msisdn=msisdn)


def deliver_reply(msisdn: str, text: str, virtual_number: str) -> None:
    """Post a customer's SMS to the webhook at `SIMULATOR_BASE_URL`, as the phone's settings say.

    Raises OSError (HTTPError with the status) if the webhook does not accept it. A late reply is posted after 20 s;
    its failure is only logged.
    """
    phone = phone_of(msisdn)
    texts = _inbound(msisdn, text, virtual_number, in_parts=phone.splits)
    if phone.sends_twice:
        texts = [fields for fields in texts for _ in range(2)]
    if not phone.replies_late:
        _deliver(texts)
        return
    timer = threading.Timer(LATE_REPLY_AFTER, _deliver_late, (texts,))
    timer.daemon = True
    timer.start()


def _deliver(texts: list[dict[str, str]]) -> None:
    for fields in texts:
        _post("inbound-sms", fields)


def _deliver_late(texts: list[dict[str, str]]) -> None:
    try:
        _deliver(texts)
    except OSError as error:
        logger.warning("A late reply did not reach the webhook: %s", error)


def _inbound(
    msisdn: str, text: str, virtual_number: str, *, in_parts: bool
) -> list[dict[str, str]]:
    """Fields of https://developer.vonage.com/en/messaging/sms/guides/inbound-sms, or of two halves, the last first."""
    whole = {
        "api-key": settings.VONAGE_API_KEY or "simulator",
        "msisdn": msisdn,
        "to": virtual_number,
        "type": "text" if text.isascii() else "unicode",
        "message-timestamp": f"{timezone.now():%Y-%m-%d %H:%M:%S}",
    }
    if not in_parts or len(text) == 1:
        return [whole | _piece(text)]
    half = len(text) // 2
    concat = {"concat": "true", "concat-ref": str(secrets.randbelow(256)), "concat-total": "2"}
    pieces = {"2": text[half:], "1": text[:half]}
    return [
        whole | concat | {"concat-part": number} | _piece(piece) for number, piece in pieces.items()
    ]


def _piece(text: str) -> dict[str, str]:
    words = text.split()
    return {
        "messageId": _message_id(),
        "text": text,
        "keyword": words[0].upper() if words else "",
    }


def _receipt(sms: OutgoingSMS, message_id: str, *, fails: bool) -> dict[str, str]:
    """Fields of https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts.

    Here `msisdn` is the customer and `to` is us. Error code 1 is "unknown".
    """
    return {
        "api-key": settings.VONAGE_API_KEY or "simulator",
        "msisdn": sms.to,
        "to": sms.sender,
        "network-code": _NETWORK,
        "messageId": message_id,
        "price": "0.00000000",
        "status": "failed" if fails else "delivered",
        "scts": f"{timezone.localtime():%y%m%d%H%M}",
        "err-code": "1" if fails else "0",
        "client-ref": sms.client_ref,
        "message-timestamp": f"{timezone.now():%Y-%m-%d %H:%M:%S}",
    }


def _message_id() -> str:
    return f"SIM{uuid.uuid4().hex[:17].upper()}"


def _post(webhook: str, fields: Mapping[str, str]) -> None:
    """Post signed JSON to one of our webhooks. Raises OSError unless it answers 200."""
    token = f"{settings.WEBHOOK_TOKEN}/" if settings.WEBHOOK_TOKEN else ""
    body = json.dumps(_signed(fields)).encode()
    url = f"{settings.SIMULATOR_BASE_URL.rstrip('/')}/webhooks/{token}{webhook}"
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  our own address
    with _opener.open(request, timeout=_TIMEOUT):
        pass


def _signed(fields: Mapping[str, str]) -> dict[str, str]:
    moment = int(timezone.now().timestamp())
    stamped = {**fields, "timestamp": str(moment), "nonce": str(uuid.uuid4())}
    if not settings.VONAGE_SIGNATURE_SECRETS:
        return stamped
    secret, method = settings.VONAGE_SIGNATURE_SECRETS[0], settings.VONAGE_SIGNATURE_METHOD
    return {**stamped, "sig": sign(stamped, secret, method)}


class _Postman:
    """Posts receipts when they are due, in a thread that starts with the first receipt.

    Sending does not depend on it: if the web server is down, a receipt is lost and no SMS.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._round: list[tuple[float, int, int, dict[str, str]]] = []  # due, order, try, fields
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_out = False

    def post_later(self, fields: dict[str, str], *, tries: int = 0) -> None:
        wait = _TRY_AGAIN_AFTER if tries else RECEIPT_AFTER
        with self._changed:
            heapq.heappush(self._round, (monotonic() + wait, next(self._order), tries, fields))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self) -> None:
        """Post all receipts that are not due yet, each once."""
        with self._changed:
            waiting = [fields for *_, fields in sorted(self._round, key=lambda item: item[:2])]
            self._round.clear()
        for fields in waiting:
            self._deliver(fields)
        with self._changed:
            self._changed.wait_for(lambda: not self._is_out, _LONGEST_FAREWELL)

    def _run(self) -> None:
        while True:
            tries, fields = self._next_due()
            if not self._deliver(fields) and tries + 1 < _TRIES:
                self.post_later(fields, tries=tries + 1)
            with self._changed:
                self._is_out = False
                self._changed.notify_all()

    def _deliver(self, fields: dict[str, str]) -> bool:
        try:
            _post("delivery-receipt", fields)
        except OSError as error:
            logger.debug("A receipt did not reach the webhook: %s", error)
            return False
        return True

    def _next_due(self) -> tuple[int, dict[str, str]]:
        """Wait for the next receipt that is due. It counts as pending until it is posted or given up."""
        with self._changed:
            while True:
                wait = self._round[0][0] - monotonic() if self._round else None
                if wait is not None and wait <= 0:
                    _, _, tries, fields = heapq.heappop(self._round)
                    self._is_out = True
                    return tries, fields
                self._changed.wait(timeout=wait)

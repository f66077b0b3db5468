"""SMS by Vonage's SDK: one POST a try, never repeated, and every answer classified.

Left to itself the SDK repeats a POST whose answer was lost, follows redirects with the SMS, logs
error bodies and loses status codes. So its session gets a `_Wire`, which knows when the first byte
left, takes the answer before the SDK reads it, and lets none go on for ever.
"""

import logging
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from bookings.gateways import OutgoingSMS, SendResult, Verdict
from bookings.gateways.vonage_answers import Answer, NoAnswer, classify

if TYPE_CHECKING:
    from vonage import Vonage
    from vonage_sms import SmsMessage

_SHORTEST_TTL, _LONGEST_TTL = timedelta(seconds=20), timedelta(hours=72)
# A connection idle for longer may be dead without our knowing: the text would be lost in it.
_LONGEST_IDLE = 30.0  # seconds
_LONGEST_CONNECT = 3  # seconds
# Vonage's answer to the longest text is below 8 kB. The rest of a longer one is not read.
_LONGEST_ANSWER = 64 * 1024


class VonageGateway:
    """Sends through Vonage's SMS API with Basic auth. Any number of threads may share it.

    `rest_host` (a host, with or without port) and `ca_bundle` (a PEM file) replace the usual ones;
    `timeout` is in seconds, for each wait for the answer's bytes. A call that drags on is cut off after half
    as long again, well within the lease of its claim.
    """

    name = "vonage"

    def __init__(
        self,
        *,
        api_key: str,
        api_secret: str,
        rest_host: str | None = None,
        timeout: int = 10,
        ca_bundle: str | None = None,
    ) -> None:
        if not api_key or not api_secret or timeout < 1:
            raise ValueError("Vonage needs a key, a secret and a time-out of 1 second or more.")
        self._api_key, self._api_secret = api_key, api_secret
        self._rest_host = rest_host or "rest.nexmo.com"
        self._timeout = timeout
        self._ca_bundle = ca_bundle
        self._local = threading.local()
        self._wires: WeakSet[_Wire] = WeakSet()
        # At DEBUG the SDK prints the Authorization header and the text.
        logging.getLogger("vonage").setLevel(logging.WARNING)

    def send(self, sms: OutgoingSMS) -> SendResult:
        """Hand over one SMS, at most once, and say what became of it.

        Does not raise for what the network or Vonage does, nor for a text the SDK will not take.
        """
        client, wire = self._connected()
        wire.is_written = False
        try:
            client.sms.send(_message(sms))
        except _Answered as answered:
            return classify(answered.answer)
        except (OSError, HTTPError, ValueError) as error:
            return _unanswered(error, is_written=wire.is_written)
        raise RuntimeError("Vonage's SDK came back without having asked Vonage.")

    def close(self) -> None:
        """Close the connections of all threads; to be called when none of them sends any more."""
        for wire in self._wires:
            wire.close()

    def _connected(self) -> tuple["Vonage", "_Wire"]:
        """This thread's own client, since the SDK's keeps one request's headers for the next."""
        if not hasattr(self._local, "client"):
            self._local.client, self._local.wire = self._connect()
            self._wires.add(self._local.wire)
        return self._local.client, self._local.wire

    def _connect(self) -> tuple["Vonage", "_Wire"]:
        from vonage import Auth, HttpClientOptions, Vonage  # noqa: PLC0415  0.6 s and 48 MB

        options = HttpClientOptions(
            rest_host=self._rest_host,
            timeout=self._timeout,
            max_retries=0,
            pool_maxsize=1,  # also how often the SDK sends a POST that gets no answer
        )
        client = Vonage(Auth(api_key=self._api_key, api_secret=self._api_secret), options)
        wire = _Wire(self._ca_bundle, self._timeout)
        client.http_client._session.mount("https://", wire)  # noqa: SLF001  the SDK has no other door
        return client, wire


def _message(sms: OutgoingSMS) -> "SmsMessage":
    from vonage_sms import SmsMessage  # noqa: PLC0415  as above

    return SmsMessage(
        to=sms.to,
        from_=sms.sender,
        text=sms.text,
        client_ref=sms.client_ref,
        type="unicode" if sms.is_unicode else None,
        ttl=None if sms.ttl is None else _milliseconds(sms.ttl),
    )


def _milliseconds(ttl: timedelta) -> int:
    return min(max(ttl, _SHORTEST_TTL), _LONGEST_TTL) // timedelta(milliseconds=1)


def _unanswered(error: Exception, *, is_written: bool) -> SendResult:
    if is_written or not isinstance(error, ValueError) or isinstance(error, OSError):
        return classify(NoAnswer(error=type(error).__name__, is_written=is_written))
    # The SDK's validation, or a character that has no bytes. Its own words would repeat the text.
    reason = "This text cannot be put into a request. Check number, sender and words."
    return SendResult(verdict=Verdict.REFUSED, reason=reason, code=type(error).__name__)


class _Answered(Exception):
    """Vonage's answer, on its way past the SDK to `classify`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.http_status)
        self.answer = answer


class _Connection(HTTPSConnection):
    """Tells its wire when it begins to write the request: after name, proxy, connection and TLS."""

    def __init__(self, *args: Any, wire: "_Wire", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wire = wire

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._wire.begin_to_write(self)
        super().request(*args, **kwargs)

    def cut(self) -> None:
        """End it from another thread: whoever waits for its bytes gets an error, or what came so far."""
        with suppress(AttributeError, OSError):  # it is closed already
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # past its TLS, which is in use


class _Wire(HTTPAdapter):
    """One thread's connection to Vonage: asks once, and raises the answer as `_Answered`."""

    def __init__(self, ca_bundle: str | None, timeout: int) -> None:
        super().__init__(pool_maxsize=1, max_retries=0)
        self.is_written = False
        self._ca_bundle = ca_bundle
        self._timeout = timeout
        self._used_at = self._began_at = monotonic()
        self._watch: threading.Timer | None = None

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> NoReturn:
        self._began_at = monotonic()
        if self._began_at - self._used_at > _LONGEST_IDLE:
            self.close()
        if self._ca_bundle:
            kwargs["verify"] = self._ca_bundle
        kwargs["timeout"] = min(_LONGEST_CONNECT, self._timeout), self._timeout
        try:
            response = super().send(request, *args, **kwargs)
            body = response.raw.read(_LONGEST_ANSWER, decode_content=True)
            response.close()  # a connection whose answer was read to its end is kept all the same
        finally:
            if self._watch is not None:
                self._watch.cancel()
        self._used_at = monotonic()
        retry_after = response.headers.get("Retry-After", "")
        raise _Answered(
            Answer(http_status=response.status_code, body=body, retry_after=retry_after)
        )

    def begin_to_write(self, connection: _Connection) -> None:
        """Note that a byte may have left, and see to it that the call ends. Raises TimeoutError if it is too late.

        The time-outs of `requests` are for each read: an answer that comes in drips would outlive the lease.
        """
        left = self._began_at + 1.5 * self._timeout - monotonic()
        if left <= 0:
            raise TimeoutError("It took too long to get through to Vonage.")
        self.is_written = True
        self._watch = threading.Timer(left, connection.cut)
        self._watch.daemon = True
        self._watch.start()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _Connection
        pool.conn_kw["wire"] = self
        return pool

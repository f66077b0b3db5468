"""The web server that ships: waitress, with limits for slow clients and an orderly stop."""

import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from bookings.web.webhooks.deadline import ARRIVED_AT

MAX_BODY = 10 * 1024 * 1024  # a manifest's; the webhooks set their own, smaller one
MAX_HEADER = 32 * 1024  # a webhook by GET is in its first line
# A client may take SLOW_SECONDS, and a second more for each BYTES_PER_SECOND that it transfers. Why: a manifest of
# 10 MB must pass over a slow line, and a client that sends a byte now and then must not hold a socket for ever.
SLOW_SECONDS = 20
BYTES_PER_SECOND = 4 * 1024
# A stop takes at most FINISH_SECONDS, and ends when no client has sent a byte for QUIET_SECONDS. Why: the request of a
# connection that was accepted just before is still on its way.
FINISH_SECONDS = 8
QUIET_SECONDS = 1
LOOK_EVERY = 0.5


def create_server(application: Any, listener: socket.socket, **adjustments: Any) -> "Server":
    """Return the server at a socket that listens; `adjustments` are waitress's own and override ours.

    Their meaning: docs.pylonsproject.org/projects/waitress/en/stable/arguments.html. With ours, other requests are
    answered while 1,500 clients have sent half a request.
    """
    ours: dict[str, Any] = {
        "threads": 16,
        "connection_limit": 1000,
        "channel_timeout": 10,
        "cleanup_interval": 5,
        "asyncore_use_poll": True,
        "max_request_body_size": MAX_BODY,
        "max_request_header_size": MAX_HEADER,
    }
    place = (listener.family, listener.type, listener.proto, listener.getsockname())
    return Server(
        application, _sock=listener, bind_socket=False, sockinfo=place, **ours | adjustments
    )


class RequestParser(HTTPRequestParser):
    """Answers a request that it cannot read with 400, and never with 501 or a broken connection."""

    arrived_at = 0.0

    def received(self, data: bytes) -> int:
        taken: int = super().received(data)
        if self.completed:
            self.arrived_at = time.monotonic()
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except (TransferEncodingNotImplemented, ValueError) as error:
            raise ParsingError("Unreadable") from error
        # A proxy in front of us must see the same end of the body (RFC 9112, section 6.1).
        two_lengths = self.chunked and "CONTENT_LENGTH" in self.headers
        if two_lengths or "TRANSFER_ENCODING" in self.headers:  # waitress takes it out of HTTP/1.1
            raise ParsingError("Unclear where the body ends")


class Task(WSGITask):
    """Tells the application when its request arrived: it may have waited for a thread since then."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        return environ | {ARRIVED_AT: self.request.arrived_at}


class Channel(HTTPChannel):
    """A connection that counts the bytes transferred since its last answer was ready."""

    parser_class = RequestParser
    task_class = Task
    moved = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ready_at = time.time()

    def recv(self, size: int) -> bytes:
        data: bytes = super().recv(size)
        self.moved += len(data)
        return data

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002  # waitress's
        sent: int = super().send(data, do_close=do_close)
        self.moved += sent
        return sent

    def service(self) -> None:
        super().service()
        self.moved, self.ready_at = 0, time.time()

    def is_too_slow(self, now: float) -> bool:
        """Return True if the request takes too long to arrive, or the client too long to read the answer."""
        allowed = SLOW_SECONDS + self.moved / BYTES_PER_SECOND
        return not self.requests and now - self.ready_at > allowed

    def is_busy(self, now: float) -> bool:
        """Return True if there is a request or an answer on this connection, or was QUIET_SECONDS ago."""
        recent = now - self.last_activity < QUIET_SECONDS
        return bool(self.requests or self.total_outbufs_len or recent)


class Server(TcpWSGIServer):
    """waitress, with a limit for slow requests and an orderly stop."""

    channel_class = Channel
    finish_by: float | None = None

    def maintenance(self, now: float) -> None:
        """Close what is idle and what is too slow; called every `cleanup_interval` seconds."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.is_too_slow(now):
                channel.will_close = True

    def stop(self) -> None:
        """Let `run` take no new connection, finish the requests it has, and end. Safe from any thread.

        Callers that connect now wait for the next server at the same socket, if there is one.
        """
        self.accepting = False
        self.finish_by = time.time() + FINISH_SECONDS
        self.pull_trigger()

    def run(self) -> None:
        """Answer requests until `stop` is called."""
        while not self._is_finished(time.time()):
            self.asyncore.loop(LOOK_EVERY, self.adj.asyncore_use_poll, self._map, count=1)
        self.task_dispatcher.shutdown(timeout=1)

    def _is_finished(self, now: float) -> bool:
        if self.finish_by is None:
            return False
        is_busy = any(channel.is_busy(now) for channel in self.active_channels.values())
        return not is_busy or now > self.finish_by

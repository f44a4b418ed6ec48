"""The HTTP server: waitress, with every peer's time and space bounded.

One loop reads all connections; a thread is taken once a request is whole, so that a slow client
costs a file descriptor and nothing else. What waitress leaves open is closed here: deadlines and
least rates, a limit for each client and for all bodies together, and answers that arrive although
the rest of a refused body is still on its way.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from mmsearch_project.http_requests import BODY_IN_MEMORY, Refusal, Request

THREADS: Final = 24
"""Encoder and index release the GIL, and what waits together is encoded together; more than a dozen
texts fill the processors. Each comes to hold some 4 MB: its connection, its share of heaps."""
CONNECTIONS: Final = 1000
CLIENT_CONNECTIONS: Final = 256
"""Connections of one address; a proxy in front counts as one client."""
PATIENCE: Final = {"header": 20.0, "rest": 75.0, "discard": 60.0, "work": math.inf}
"""Seconds; a rest between two requests is longer than the usual proxy's."""
WINDOW: Final = 20.0
"""Seconds over which rates are looked at."""
LEAST_RATES: Final = {"body": 500, "answer": 500, "held": 32 * 2**10}
"""Bytes a second, less is given up; `held` is an answer that a thread waits to be read."""
STOP_SECONDS: Final = 20.0
"""For requests in hand when asked to stop; below the supervisor's own patience."""
HEADER_BYTES: Final = 32 * 2**10
BODIES_BYTES: Final = 2**30
"""Bodies in files, of all requests together."""
Application = Callable[..., Iterable[bytes]]


class Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """One connection."""

    parser_class = Request
    error_task_class = Refusal
    close_when_flushed: bool
    moved = 0
    """Bytes received and sent."""
    refused = False
    discards = False
    """A refusal was sent; what the client still sends is read and dropped."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stage: tuple[str, int] = ("", 0)
        self.since = time.monotonic()
        """When its present stage began, or its rate was last looked at."""
        self._moved_before = 0

    @property
    def waits(self) -> bool:
        """Whether nothing is in hand for it, so that closing it loses no answer."""
        return not (self.requests or self.total_outbufs_len)

    def is_overdue(self, now: float) -> bool:
        """Whether its peer is slower than it may be; to be asked every second or so."""
        stage = (self._stage_now(), id(self.request))
        if stage != self._stage:
            self._stage, self.since, self._moved_before = stage, now, self.moved
            return False
        elapsed = now - self.since
        if stage[0] in PATIENCE:
            return elapsed > PATIENCE[stage[0]]
        if elapsed < WINDOW:
            return False
        slow = self.moved - self._moved_before < LEAST_RATES[stage[0]] * elapsed
        self.since, self._moved_before = now, self.moved
        return slow

    def _stage_now(self) -> str:
        if self.discards:
            return "discard"
        if self.total_outbufs_len:
            is_held = self.requests and self.total_outbufs_len > self.adj.outbuf_high_watermark
            return "held" if is_held else "answer"
        if self.requests:
            return "work"
        if self.request is None:
            return "rest"
        return "body" if self.request.headers_finished else "header"

    def received(self, data: bytes) -> bool:
        self.moved += len(data)
        if self.refused or any(request.error for request in self.requests):
            return False
        return bool(super().received(data))

    def service(self) -> None:
        self.refused = self.requests[0].error is not None
        super().service()

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close=do_close)
        self.moved += sent
        return sent

    def readable(self) -> bool:
        return self.discards or bool(super().readable())

    def handle_read(self) -> None:
        if self.discards:
            self.recv(self.adj.recv_bytes)
        else:
            super().handle_read()

    def handle_write(self) -> None:
        closes = bool(self.close_when_flushed)
        if not (self.refused and closes):
            super().handle_write()
            return
        # Closed on what is still being sent, the connection would take the answer along.
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and not self.will_close:
            self.close_when_flushed = False
            self.discards = True
            self.socket.shutdown(socket.SHUT_WR)


class Server(TcpWSGIServer):  # type: ignore[misc]  # untyped
    """Serves on a socket that is bound already, until `stop`."""

    channel_class = Channel

    def __init__(
        self, application: Application, listener: socket.socket, *, body_limit: Callable[[str], int]
    ) -> None:
        """`body_limit` says for a path how many bytes a request's body may have."""
        adjustments = Adjustments(
            sockets=[listener],
            threads=THREADS,
            backlog=2048,
            connection_limit=CONNECTIONS,
            recv_bytes=2**16,
            inbuf_overflow=BODY_IN_MEMORY,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=sys.maxsize,  # Request looks at it
            channel_request_lookahead=1,  # or a client that goes would not be noticed
            cleanup_interval=sys.maxsize,  # `run` looks after the channels, by a steady clock
            clear_untrusted_proxy_headers=False,  # MMSEARCH_HTTPS says whether they count
            log_socket_errors=False,
            ident="mmsearch",
        )
        adjustments.body_limit = body_limit
        adjustments.has_room = self._has_room
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(THREADS)
        super().__init__(
            without_body_for_head(application),
            map={},
            _sock=listener,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )
        self.stopping_since: float | None = None

    def run(self) -> None:
        """Serve; returns when stopped, after the requests in hand."""
        next_look = 0.0
        while not self._is_done():
            wasyncore.poll2(1.0 if self.stopping_since is None else 0.1, self._map)
            now = time.monotonic()
            if now > next_look or self.stopping_since is not None:
                next_look = now + 1
                for channel in list(self.active_channels.values()):
                    is_idle = self.stopping_since is not None and channel.waits
                    if is_idle or channel.is_overdue(now):
                        channel.handle_close()  # will_close would wait until its peer reads

    def stop(self) -> None:
        """Take no more and let `run` return; may be called by a signal handler."""
        self.accepting = False
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
        self.pull_trigger()

    def handle_accept(self) -> None:
        known = set(self.active_channels)
        super().handle_accept()
        for number in self.active_channels.keys() - known:
            self._limit(self.active_channels[number])

    def _limit(self, newest: Channel) -> None:
        """Close the connection of this client that has waited longest where it has too many."""
        client = client_of(newest)
        same = [
            channel for channel in self.active_channels.values() if client_of(channel) == client
        ]
        if len(same) > CLIENT_CONNECTIONS:
            waiting = [channel for channel in same if channel.waits]
            min(waiting, key=lambda channel: channel.since).handle_close()

    def _has_room(self) -> bool:
        requests = (
            request
            for channel in self.active_channels.values()
            for request in (channel.request, *channel.requests)
        )
        return bool(sum(request.reserved for request in requests if request) <= BODIES_BYTES)

    def _is_done(self) -> bool:
        if self.stopping_since is None:
            return False
        late = time.monotonic() - self.stopping_since > STOP_SECONDS
        return late or not self.active_channels


def client_of(channel: Channel) -> str:
    """The address that its connections are counted under: for IPv6 the network of 64 bits."""
    address = ipaddress.ip_address(channel.addr[0].partition("%")[0])
    if address.version == 4 or (mapped := address.ipv4_mapped) is not None:
        return str(address if address.version == 4 else mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def without_body_for_head(application: Application) -> Application:
    """The application, silent where only headers were asked for, which waitress leaves to it."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = application(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return body
        if hasattr(body, "close"):
            body.close()
        return []

    return answer

"""The address that the web server listens on."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import time
from typing import Final

PATIENCE: Final = 15.0
"""Seconds to wait for a port that the web process of a killed supervisor may still hold."""


class AddressError(Exception):
    """The address cannot be listened on; the message names the mend."""


def bind(host: str, port: int, *, patience: float = PATIENCE) -> socket.socket:
    """A socket bound to the address, not yet listening. Raises AddressError."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _bound(host, port)
        except socket.gaierror as exc:
            raise AddressError(
                f"HOST={host!r} is no address of this machine: {exc.strerror}."
            ) from exc
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise _refused(host, port, exc) from exc
        time.sleep(0.1)


def listen(listener: socket.socket, host: str, port: int) -> None:
    """Let connections queue until the server takes them. Raises AddressError."""
    try:
        listener.listen(2048)
    except OSError as exc:
        raise _refused(host, port, exc) from exc


def url(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}/"
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}/" if address.version == 6 else f"http://{address}:{port}/"


def _refused(host: str, port: int, exc: OSError) -> AddressError:
    if exc.errno == errno.EADDRINUSE:
        other = f"PORT={_free_port(host, port)} make run"
        return AddressError(f"Port {port} on {host} is in use. Choose another: {other}")
    return AddressError(f"HOST={host} PORT={port} cannot be listened on: {exc.strerror}.")


def _free_port(host: str, taken: int) -> int:
    """One that can be had: the next above that nobody listens on, or any."""
    for port in (*range(taken + 1, min(taken + 100, 65_536)), 0):
        with contextlib.suppress(OSError), _bound(host, port) as found:
            free: int = found.getsockname()[1]
            return free
    return taken  # none at all


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises OSError, and its kind gaierror for a wrong host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound

"""From where the server can be reached, and what that asks of the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

import psutil
from django.core.exceptions import ImproperlyConfigured

from mmsearch_project import environment as env

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
"""Always answered: health probes on the machine itself need no name."""


def exposed_by(*, host: str, names: Iterable[str], https: bool, origins: Sequence[str]) -> str:
    """The setting that lets others in than this machine, as the operator wrote it, or ""."""
    if not _is_loopback(host):
        return f"HOST={host}"
    if others := [name for name in names if not _is_loopback(name)]:
        return f"MMSEARCH_ALLOWED_HOSTS={','.join(others)}"
    if https:
        return "MMSEARCH_HTTPS=1"
    return f"MMSEARCH_TRUSTED_ORIGINS={','.join(origins)}" if origins else ""


def api_auth(exposure: str, *, anonymous_writes: bool) -> str:
    """`MMSEARCH_API_AUTH`: open to all only where others cannot come, or are invited to write.

    Raises ImproperlyConfigured where it is open to others by oversight.
    """
    chosen = env.choice(
        "MMSEARCH_API_AUTH", ("open", "required"), "required" if exposure else "open"
    )
    if chosen == "open" and exposure and not anonymous_writes:
        raise ImproperlyConfigured(
            f"MMSEARCH_API_AUTH=open together with {exposure} would let anyone on the network add,"
            " change and delete items. Leave MMSEARCH_API_AUTH out, or if that is what you want,"
            " add MMSEARCH_ALLOW_ANONYMOUS_WRITES=1."
        )
    return chosen


def own_names(host: str) -> list[str]:
    """The address listened on, as a browser names it; of 0.0.0.0 and :: all that this machine has.

    Addresses and no names: a page of another site can give its own name any address (DNS
    rebinding), but cannot make a browser call it by that address.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [host]
    if not address.is_unspecified:
        return [_in_url(address)]
    found = {
        _in_url(own)
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if (own := _address(entry.address)) and (address.version == 6 or own.version == 4)
    }
    return sorted(found - set(LOOPBACK_NAMES))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:  # the hardware's own
        return None


def _in_url(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _is_loopback(host: str) -> bool:
    address = _address(host.strip("[]"))
    return address.is_loopback if address else host == "localhost"

from __future__ import annotations

import contextlib
import re
import socket

import pytest

from mmsearch_project.address import AddressError, bind, listen, url


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_bind_gives_a_socket_that_can_listen() -> None:
    port = free_port()
    with bind("127.0.0.1", port) as listener:
        listen(listener, "127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_bind_names_the_port_in_use_and_the_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressError) as caught:
            bind("127.0.0.1", port, patience=0)
    assert str(caught.value).startswith(f"Port {port} on 127.0.0.1 is in use.")
    assert str(caught.value).endswith(" make run")


def test_the_port_that_is_named_instead_can_be_had() -> None:
    with contextlib.ExitStack() as taken:
        port = 0
        while not port:
            first = taken.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                taken.enter_context(socket.create_server(("127.0.0.1", first + 1)))
                port = first

        with pytest.raises(AddressError) as caught:
            bind("127.0.0.1", port, patience=0)

        named = re.search(r"PORT=(\d+) make run$", str(caught.value))
        assert named is not None
        bind("127.0.0.1", int(named[1]), patience=0).close()


def test_bind_names_an_address_of_another_machine() -> None:
    with pytest.raises(AddressError) as caught:
        bind("192.0.2.1", 8000, patience=0)
    assert str(caught.value) == (
        "HOST=192.0.2.1 PORT=8000 cannot be listened on: Cannot assign requested address."
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("localhost", "http://localhost:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("::1", "http://[::1]:8000/"),
    ],
)
def test_url_can_be_opened_on_this_machine(host: str, expected: str) -> None:
    assert url(host, 8000) == expected

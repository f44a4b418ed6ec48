"""A process that counts as serving and gets ready for nothing, until its input ends."""

from __future__ import annotations

import sys

import django


def main() -> None:
    django.setup()
    from embeddings.presence import Presence, Role

    presence = Presence(Role.SERVING)
    presence.begin()
    print("serving", flush=True)  # noqa: T201
    sys.stdin.read()
    presence.end()


if __name__ == "__main__":
    main()

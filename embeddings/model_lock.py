"""Which worker process of this host holds a model in memory: one at a time.

Two processes run tasks in turns, so that both would come to hold one for good.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
from collections.abc import Iterator
from typing import IO

from django.conf import settings

from embeddings import per_space
from embeddings.one_a_host import only_one

_held: list[IO[bytes]] = []


def take() -> bool:
    """Whether this process may load a model: then it may until it lets go, or ends."""
    if _held:
        return True
    stream = (settings.MMSEARCH_DATA_DIR / "model.lock").open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return False
    _held.append(stream)
    return True


def let_go() -> None:
    """Free the model, if this process holds it, for whoever embeds next."""
    if _held:
        per_space.reset()
        gc.collect()  # an encoder refers to itself in circles
        _held.pop().close()


@contextlib.contextmanager
def borrow() -> Iterator[bool]:
    """Whether this process may load models to the end of the block, where they are freed.

    Not while another one of this host embeds, or keeps the model since. Nobody embeds meanwhile.
    """
    with only_one("embedding") as nobody_embeds:
        if not (nobody_embeds and take()):
            yield False
            return
        try:
            yield True
        finally:
            let_go()

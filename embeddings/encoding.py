"""From the parts of items to their vectors, without the database: read, encode, refuse."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalog.ingest.images import ImageRefused
from catalog.models import Item
from catalog.storage import PicturesUnavailable
from embeddings.encoders.base import Encoder, EncoderError, Modality
from embeddings.parts import PARTS

logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[int, Modality]
"""A vector of an item, or the input that it is made from."""
Stored: TypeAlias = NDArray[np.float16]
"""float16 (d,), little-endian, L2-normalised: a vector as the database holds it."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What became of a batch."""

    vectors: dict[Key, Stored]
    errors: dict[int, str]
    """By item, none of whose vectors is here."""
    waiting: dict[int, str] = dataclasses.field(default_factory=dict)
    """The same of items that cannot be read just now, through no fault of theirs."""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Why an input cannot be read: an exception would hold the file in its traceback."""

    reason: str
    passes: bool = False
    """It is no fault of the item's: later it may be read."""


def read(encoder: Encoder, item: Item, modality: Modality) -> Any:
    """The encoder's input, ready to wait for its turn, or Unreadable."""
    part = PARTS[modality]
    try:
        value = part.read(item)
    except PicturesUnavailable as exc:
        return Unreadable(str(exc), passes=True)
    except (ImageRefused, OSError) as exc:
        reason = str(exc)
    except Exception as exc:
        logger.exception("Reading the %s of item %d failed", part.name, item.pk)
        reason = f"{type(exc).__name__}: {exc}"
    else:
        with contextlib.suppress(Exception):  # then encoding fails, too, and says why
            value = encoder.ready(modality, value)
        return value
    return Unreadable(f"The {part.name} cannot be read: {reason}")


def encode(encoder: Encoder, reading: Mapping[Key, Future[Any]]) -> Encoded:
    """Encode what is being read; whatever fails is told of its item alone."""
    inputs = {key: future.result() for key, future in reading.items()}
    unread = {key[0]: each for key, each in inputs.items() if isinstance(each, Unreadable)}
    encoded = _encode(encoder, {key: inputs[key] for key in inputs if key[0] not in unread})
    waiting = {pk: each.reason for pk, each in unread.items() if each.passes}
    errors = {pk: each.reason for pk, each in unread.items() if not each.passes}
    return Encoded(encoded.vectors, errors | encoded.errors, waiting)


def _encode(encoder: Encoder, inputs: Mapping[Key, Any]) -> Encoded:
    """Encode one modality after another; where that fails, item by item."""
    vectors: dict[Key, Stored] = {}
    errors: dict[int, str] = {}
    items = {pk for pk, _ in inputs}
    try:
        for modality in dict.fromkeys(modality for _, modality in inputs):
            keys = [key for key in inputs if key[1] is modality]
            rows = _timed(encoder, modality, [inputs[key] for key in keys])
            vectors |= zip(keys, rows, strict=True)
            for row in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
                errors[keys[row][0]] = (
                    f"The model made a vector of the {PARTS[modality].name} that is not finite"
                    " (NaN or infinity)."
                )
        return Encoded({key: vectors[key] for key in vectors if key[0] not in errors}, errors)
    except Exception as exc:
        if not isinstance(exc, EncoderError):
            logger.exception("Encoding %d items failed", len(items))
        if len(items) == 1:
            return Encoded({}, dict.fromkeys(items, f"The model failed: {exc}"))
    alone = [_encode(encoder, {key: inputs[key] for key in inputs if key[0] == pk}) for pk in items]
    return Encoded(
        {key: vector for each in alone for key, vector in each.vectors.items()},
        {pk: error for each in alone for pk, error in each.errors.items()},
    )


def _timed(encoder: Encoder, modality: Modality, inputs: Sequence[Any]) -> NDArray[np.float16]:
    """float16 (n, d): a number too large for the database is infinity here."""
    started = time.perf_counter()
    rows = encoder.encode(modality, inputs).astype("<f2")
    elapsed = time.perf_counter() - started
    logger.info(
        "Encoded %d %s in %.0f ms, %.1f a second",
        len(inputs),
        PARTS[modality].plural,
        elapsed * 1000,
        len(inputs) / elapsed,
    )
    return rows

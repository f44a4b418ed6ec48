"""What of the catalogue a model is tried on before its precision is decided."""

from __future__ import annotations

import contextlib
from typing import Any

from django.db import Error, models

from catalog.ingest.images import ImageRefused
from catalog.models import Item
from catalog.storage import PicturesUnavailable
from embeddings.encoders.preparing.parity import SAMPLES, Samples, demo_samples
from embeddings.parts import PARTS, Part


def catalogue_samples() -> Samples:
    """Parts of items spread over the catalogue; the demo's where it holds too few of one.

    Few samples have few neighbours to confuse: they would prove nothing.
    """
    try:
        samples = {modality: _inputs(part) for modality, part in PARTS.items()}
    except (Error, PicturesUnavailable):  # no database yet, or no pictures just now
        return demo_samples()
    if min(map(len, samples.values())) < SAMPLES // 2:
        return demo_samples()
    return samples


def _inputs(part: Part) -> list[Any]:
    inputs = []
    for item in _spread(Item.objects.exclude(**{part.hash_field: ""}).order_by("pk")):
        with contextlib.suppress(ImageRefused):
            inputs.append(part.read(item))
    return inputs


def _spread(items: models.QuerySet[Item]) -> list[Item]:
    """At most SAMPLES items at even distances."""
    keys = list(items.values_list("pk", flat=True))
    chosen = keys[:: max(1, len(keys) // SAMPLES)][:SAMPLES]
    return list(items.filter(pk__in=chosen))

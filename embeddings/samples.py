"""What of the catalogue a model is tried on before its precision is decided."""

from __future__ import annotations

from django.db import Error, models

from catalog.ingest.images import ImageRefused, open_preview
from catalog.models import Item
from embeddings.encoders.base import Modality
from embeddings.encoders.preparing.parity import SAMPLES, Samples, demo_samples


def catalogue_samples() -> Samples:
    """Captions and pictures spread over the catalogue; the demo's where it holds too few.

    Few samples have few neighbours to confuse: they would prove nothing.
    """
    try:
        items = Item.objects.order_by("pk")
        captioned = _spread(items.exclude(caption=""))
        pictured = _spread(items.exclude(image=""))
    except Error:  # no database yet
        return demo_samples()
    images = []
    for item in pictured:
        try:
            images.append(open_preview(item))
        except ImageRefused:
            continue
    if len(captioned) < SAMPLES // 2 or len(images) < SAMPLES // 2:
        return demo_samples()
    return {Modality.TEXT: [item.caption for item in captioned], Modality.IMAGE: images}


def _spread(items: models.QuerySet[Item]) -> list[Item]:
    """At most SAMPLES items at even distances."""
    keys = list(items.values_list("pk", flat=True))
    chosen = keys[:: max(1, len(keys) // SAMPLES)][:SAMPLES]
    return list(items.filter(pk__in=chosen))

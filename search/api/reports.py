"""How the server describes itself and its errors."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from embeddings.models import MODALITY_CHOICES


class IndexReport(serializers.Serializer[Any]):
    """One modality's part of the index."""

    modality = serializers.ChoiceField(choices=MODALITY_CHOICES)
    kind = serializers.CharField(help_text="How it is searched: exact, hnsw or ivf.")
    vectors = serializers.IntegerField()
    delta = serializers.IntegerField(help_text="Added since the snapshot; searched exactly.")
    dead = serializers.IntegerField(help_text="Removed or replaced, not yet compacted.")
    effort = serializers.IntegerField(help_text="efSearch or nprobe; 0 where exact.")
    bytes_per_vector = serializers.FloatField()
    recall = serializers.FloatField(
        allow_null=True, help_text="Measured recall@10 of the live index; null until measured."
    )


class SpaceReport(serializers.Serializer[Any]):
    """One model's space: the one that answers, or one that is kept beside it."""

    id = serializers.IntegerField()
    model = serializers.CharField()
    revision = serializers.CharField()
    dimension = serializers.IntegerField()
    precision = serializers.CharField()
    state = serializers.CharField(help_text="active: it answers; ready or building: beside it.")
    items = serializers.IntegerField()
    done = serializers.IntegerField()
    waiting = serializers.IntegerField()
    failed = serializers.IntegerField()
    items_per_second = serializers.FloatField(
        allow_null=True, help_text="While it is being embedded."
    )
    seconds_left = serializers.IntegerField(
        allow_null=True, help_text="Until nothing waits; null where nobody can say."
    )


class SystemReport(serializers.Serializer[Any]):
    message = serializers.CharField()
    total_vectors_in_faiss = serializers.IntegerField()
    memory_rss_mb = serializers.FloatField()
    memory_vms_mb = serializers.FloatField()
    cpu_percent = serializers.FloatField(help_text="Of one core, since the last call.")
    faiss_index_path = serializers.CharField(help_text="Below the data folder; whole to staff.")
    metadata_db_path = serializers.CharField(help_text="The same of the database.")
    items = serializers.IntegerField()
    indexed = serializers.IntegerField()
    pending = serializers.IntegerField()
    failed = serializers.IntegerField()
    model = serializers.CharField(help_text="Empty before a model was opened.")
    indexes = IndexReport(many=True)
    spaces = SpaceReport(many=True)


class ReadinessReport(serializers.Serializer[Any]):
    ready = serializers.BooleanField()
    parts = serializers.DictField(
        child=serializers.CharField(), help_text="`ok`, or what each part waits for."
    )


class Liveness(serializers.Serializer[Any]):
    status = serializers.CharField()


class Detail(serializers.Serializer[Any]):
    """Any error that is not about one field."""

    detail = serializers.CharField()

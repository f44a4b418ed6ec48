import hashlib
import json

from django.db import migrations, models
from django.db.models import OuterRef, Subquery

PARTS = {"image": "image_hash", "text": "caption_hash"}
VECTORS = 1


def take_over_part_hashes(apps, schema_editor):
    """A vector of an item's present content is from now on known by the part it was made from.

    Of one that is outdated nothing is changed: it is outdated still.
    """
    items = apps.get_model("catalog", "Item").objects.filter(pk=OuterRef("item"))
    embeddings = apps.get_model("embeddings", "Embedding").objects
    for modality, column in PARTS.items():
        current = embeddings.filter(
            modality=modality, content_hash=Subquery(items.values("content_hash"))
        )
        current.update(content_hash=Subquery(items.values(column)))


def forget_precision_in_fingerprints(apps, schema_editor):
    """Of spaces that differ in no more than precision one goes on: the active, or the newest.

    The others are retired: they would be fed beside it with vectors of the same model.
    """
    spaces = apps.get_model("embeddings", "EmbeddingSpace").objects.exclude(state="retired")
    taken = set()
    for space in sorted(spaces.order_by("-pk"), key=lambda space: space.state != "active"):
        identity = json.dumps([space.model, space.revision, space.dimension, VECTORS])
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:32]
        if fingerprint in taken:
            for rows in ("Embedding", "EmbeddingJob", "VectorChange"):
                apps.get_model("embeddings", rows).objects.filter(space=space).delete()
            space.state = "retired"
        taken.add(fingerprint)
        space.fingerprint = fingerprint
        space.save(update_fields=["fingerprint", "state"])


class Migration(migrations.Migration):

    dependencies = [
        ("embeddings", "0004_spaces_side_by_side"),
        ("catalog", "0007_caption_hash"),
    ]
    run_before = [("catalog", "0008_drop_content_hash")]

    operations = [
        migrations.AddField(
            model_name="embeddingspace",
            name="modalities",
            field=models.JSONField(
                default=["image", "text"],
                help_text="The kinds of content that it has vectors of.",
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="embedding",
            name="content_hash",
            field=models.CharField(
                max_length=64, help_text="Digest of the part of the item that it was made from."
            ),
        ),
        migrations.RunPython(take_over_part_hashes, migrations.RunPython.noop),
        migrations.RunPython(forget_precision_in_fingerprints, migrations.RunPython.noop),
    ]

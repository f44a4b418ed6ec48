"""What there is: items, their tags, and the folders that pictures may be linked from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.urls import reverse

from catalog.storage import CatalogStorage, image_upload_path, preview_upload_path

ITEM_ID_PATTERN = (
    r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f/\\?#%\s](?:[^\x00-\x1f\x7f/\\?#%]*[^\x00-\x1f\x7f/\\?#%\s])?"
)
"""An item id stands in URLs and file names: no control characters, slashes, `?`, `#` or
`%`, and neither `.` nor `..`."""


class Tag(models.Model):
    """A word that curators or data sets put on items."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the tag and the words of its items in one transaction."""
        with transaction.atomic():
            super().save(*args, **kwargs)


class LinkedFolder(models.Model):
    """A folder outside the data directory whose pictures items may link to."""

    path = models.CharField(max_length=4096, unique=True)

    def __str__(self) -> str:
        return self.path


class Installation(models.Model):
    """What all hosts of this database have in common: one row, from the first start on."""

    class Demo(models.TextChoices):
        """What became of the demo catalogue."""

        LOADING = "loading", "wanted, and not yet loaded to the end: the next start goes on"
        SETTLED = "settled", "loaded, or not wanted: who deletes the items does not get them back"

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    key_digest = models.CharField(
        max_length=64, blank=True, help_text="Of the secret key: hosts with another are refused."
    )
    model = models.CharField(max_length=1000, blank=True, help_text="What was last started with.")
    demo = models.CharField(max_length=7, choices=Demo, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_installation"),
        ]

    def __str__(self) -> str:
        return "this installation"

    @classmethod
    def current(cls) -> Installation:
        """The row, made where there is none yet."""
        return cls.objects.get_or_create(pk=1)[0]


class Dataset(models.Model):
    """A file or folder that was ingested; its items are those that it was the last to name."""

    path = models.CharField(max_length=4096, unique=True)

    def __str__(self) -> str:
        return self.path


class ItemQuerySet(models.QuerySet["Item"]):
    """Which items there are."""

    def with_tags(self, names: Iterable[str]) -> ItemQuerySet:
        """Items that have all of the tags, by one subquery whatever their number."""
        wanted = set(names)
        if not wanted:
            return self
        through = Item.tags.through.objects.filter(tag__name__in=wanted).order_by()
        holders = through.values("item_id").alias(found=models.Count("pk"))
        wanted_count = {"found": len(wanted)}  # an annotation, which the type checker does not know
        return self.filter(pk__in=holders.filter(**wanted_count))

    def with_file(self, name: str) -> ItemQuerySet:
        """Items whose picture or preview is stored under the name."""
        return self.filter(
            models.Q(image=name, image__gt="") | models.Q(preview=name, preview__gt="")
        )


def caption_digest(caption: str) -> str:
    """SHA-256 of a caption; empty of an empty one."""
    return hashlib.sha256(caption.encode()).hexdigest() if caption else ""


class Item(models.Model):
    """A picture, a caption, or both, with what is known about it."""

    item_id = models.CharField(
        "item id",
        max_length=200,
        unique=True,
        validators=[
            RegexValidator(
                rf"^(?:{ITEM_ID_PATTERN})\Z",
                "An item id has no spaces at its ends, no control characters, none of"
                " / \\ ? # %%, and is neither . nor ..",
            )
        ],
        help_text="Your own name for the item. Ingesting the same id again updates the item.",
    )
    title = models.CharField(max_length=300, blank=True)
    caption = models.TextField(blank=True)
    tags = models.ManyToManyField(Tag, related_name="items", blank=True)
    category = models.CharField(max_length=200, blank=True, db_index=True)
    image = models.FileField(
        upload_to=image_upload_path, storage=CatalogStorage(), blank=True, max_length=1024
    )
    preview = models.FileField(
        upload_to=preview_upload_path,
        storage=CatalogStorage(),
        blank=True,
        max_length=1024,
        editable=False,
        help_text="Upright RGB copy of modest size; empty where the image serves as it is.",
    )
    dataset = models.ForeignKey(
        Dataset, models.SET_NULL, null=True, blank=True, editable=False, related_name="items"
    )
    original_filename = models.CharField(max_length=255, blank=True, editable=False)
    width = models.PositiveIntegerField(null=True, blank=True, editable=False)
    height = models.PositiveIntegerField(null=True, blank=True, editable=False)
    image_hash = models.CharField(max_length=64, blank=True, editable=False)
    caption_hash = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["updated_at"], name="item_updated_at"),
            # Not of the items without a file.
            models.Index(
                fields=["image"], name="item_image_name", condition=models.Q(image__gt="")
            ),
            models.Index(
                fields=["preview"], name="item_preview_name", condition=models.Q(preview__gt="")
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~models.Q(caption="", image=""),
                name="item_has_caption_or_image",
                violation_error_message="An item needs a caption or an image.",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.caption[:60] or self.item_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the item and what its signal writes in one transaction."""
        self.caption_hash = caption_digest(self.caption)
        update_fields = kwargs.get("update_fields")
        if update_fields is not None:
            kwargs["update_fields"] = {*update_fields, "caption_hash", "updated_at"}
        with transaction.atomic():
            super().save(*args, **kwargs)

    def get_absolute_url(self) -> str:
        return reverse("item", args=[self.item_id])

    @property
    def preview_file(self) -> models.fields.files.FieldFile | None:
        """The file that pages show and the encoder reads, if the item has a picture."""
        return self.preview or self.image or None

    @property
    def image_name(self) -> str:
        """The picture's file name without folders."""
        return PurePath(self.image.name or "").name


class ItemWords(models.Model):
    """What an item is found by in words: the terms of its texts, a space between two.

    Written in the transaction that changes the item (`catalog.words`). The full text index of the
    database is derived from these rows.
    """

    item = models.OneToOneField(Item, models.CASCADE, primary_key=True, related_name="words")
    title = models.TextField()
    caption = models.TextField()
    tags = models.TextField()
    category = models.TextField()
    name = models.TextField()
    """The item id and the name of its file."""
    codes = models.TextField()
    """What is written in one piece and has several terms, without what is between them."""

    def __str__(self) -> str:
        return str(self.item_id)


class Word(models.Model):
    """A word that some item has, or had: what misspelt queries are corrected to."""

    term = models.TextField(unique=True)
    stem = models.TextField(db_index=True)

    def __str__(self) -> str:
        return self.term


class ItemChange(models.Model):
    """One line of the catalogue's change log: this item may have come, changed or gone.

    Whoever keeps something derived from items in memory reads on from the last line it saw.
    """

    seq = models.BigAutoField(primary_key=True)
    item = models.PositiveBigIntegerField(
        help_text="Primary key; no foreign key, for the line outlives the item."
    )

    def __str__(self) -> str:
        return f"{self.seq}: item {self.item}"

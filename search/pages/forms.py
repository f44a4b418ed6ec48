"""Forms of the pages. They only translate; what is acceptable, catalog.ingest decides."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from django import forms
from django.core.files.uploadedfile import UploadedFile

from catalog.ingest import ItemRecord, UploadedImage, split_tags

PICTURE_TYPES = (
    "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,image/avif,.heic,.heif"
)


class PictureQueryForm(forms.Form):
    """A picture to search with, and words beside it."""

    picture_file = forms.FileField(
        label="Picture",
        widget=forms.FileInput(attrs={"accept": PICTURE_TYPES}),
        error_messages={
            "required": "Choose a picture to search with.",
            "empty": "This file is empty. Choose a picture.",
        },
    )
    q = forms.CharField(
        label="and words (optional)",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    @property
    def picture(self) -> UploadedImage:
        return _uploaded(self.cleaned_data["picture_file"])


class UploadForm(forms.Form):
    """One item: a picture, a caption, or both."""

    image = forms.FileField(
        label="Picture",
        required=False,
        allow_empty_file=True,  # the ingest door says it better
        widget=forms.FileInput(attrs={"accept": PICTURE_TYPES}),
    )
    caption = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="What the picture shows, or the text of an item without a picture.",
    )
    title = forms.CharField(required=False)
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    category = forms.CharField(required=False, widget=forms.TextInput(attrs={"list": "categories"}))
    item_id = forms.CharField(
        label="Item id",
        required=False,
        help_text="Your own name for it. Left empty, one is made; an existing id is updated.",
    )
    remove_image = forms.BooleanField(
        label="Remove the picture",
        required=False,
        help_text="Of the item whose id is given above; its caption stays.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if field.help_text:
                field.widget.attrs["aria-describedby"] = f"id_{name}_help"

    def record(self) -> ItemRecord:
        """What was filled in; what was left empty stays as the item has it."""
        given = self.cleaned_data
        return ItemRecord(
            item_id=given["item_id"] or None,
            title=given["title"] or None,
            caption=given["caption"] or None,
            tags=split_tags(given["tags"]) or None,
            category=given["category"] or None,
            image=_uploaded(given["image"]) if given["image"] is not None else None,
            remove_image=given["remove_image"],
        )

    def refuse(self, field: str, reason: str) -> None:
        """Show why the item was refused, beside the field at fault."""
        self.add_error(field if field in self.fields else None, reason)


def _uploaded(file: UploadedFile[Any]) -> UploadedImage:
    return UploadedImage(data=cast("BinaryIO", file), filename=file.name or "")

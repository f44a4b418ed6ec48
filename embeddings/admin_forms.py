"""The item form of the admin: through the same door as every other input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.files.uploadedfile import UploadedFile

from catalog.ingest import ItemRecord, Outcome, OutcomeKind, UploadedImage, ingest
from catalog.models import Item

if TYPE_CHECKING:
    _ItemForm = forms.ModelForm[Item]
else:  # Django's classes are generic to the type checker alone
    _ItemForm = forms.ModelForm


class ItemForm(_ItemForm):
    """Fields of an item; validation is a dry run of the ingestion that saving will be."""

    image = forms.FileField(
        required=False,
        allow_empty_file=True,  # the door says it better
        widget=forms.FileInput(attrs={"accept": "image/*,.heic,.heif"}),
        help_text="Choosing a picture replaces the one that the item has.",
    )

    remove_image = forms.BooleanField(
        label="Remove the picture", required=False, help_text="The caption stays."
    )

    class Meta:
        model = Item
        fields = ("item_id", "title", "caption", "category", "tags", "image")
        widgets: ClassVar = {"caption": forms.Textarea(attrs={"rows": 4, "cols": 80})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "item_id" in self.fields:  # read-only on an item that exists
            self.fields["item_id"].required = False
            self.fields["item_id"].help_text = "Your own name for it. Left empty, one is made."
            self.fields["image"].help_text = ""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors:
            (outcome,) = ingest([self.record()], dry_run=True)
            self.refuse(outcome)
        return cleaned

    def refuse(self, outcome: Outcome) -> None:
        """Show why an item was refused, beside the field at fault."""
        if outcome.kind is OutcomeKind.REJECTED:
            self.add_error(outcome.field if outcome.field in self.fields else None, outcome.reason)

    def record(self) -> ItemRecord:
        """What the form says the item is; without a new file its picture stays."""
        given = self.cleaned_data
        image: UploadedImage | None = None
        file = given.get("image")
        if isinstance(file, UploadedFile):
            file.seek(0)  # the dry run read it
            image = UploadedImage(data=file, filename=file.name or "")  # type: ignore[arg-type]
        return ItemRecord(
            item_id=self.instance.item_id or given.get("item_id"),
            title=given.get("title"),
            caption=given.get("caption"),
            category=given.get("category"),
            tags=tuple(tag.name for tag in given.get("tags") or ()),
            image=image,
            remove_image=bool(given.get("remove_image")),
        )

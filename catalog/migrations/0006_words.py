"""The words that items are found by, filled from the items there are.

The full text index is no table of Django's; on SQLite triggers on `catalog_itemwords` feed it. A
migration that makes that table anew has to drop and create the index around it.
"""

import django.db.models.deletion
from django.db import migrations, models

from catalog.words import upkeep
from catalog.words.full_text import full_text


def create(apps, schema_editor):
    upkeep.create_index(schema_editor.connection)


def drop(apps, schema_editor):
    full_text(schema_editor.connection).drop()


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0005_item_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Word",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("term", models.TextField(unique=True)),
                ("stem", models.TextField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="ItemWords",
            fields=[
                ("item", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="words", serialize=False, to="catalog.item")),
                ("title", models.TextField()),
                ("caption", models.TextField()),
                ("tags", models.TextField()),
                ("category", models.TextField()),
                ("name", models.TextField()),
                ("codes", models.TextField()),
            ],
        ),
        migrations.RunPython(create, drop),
    ]

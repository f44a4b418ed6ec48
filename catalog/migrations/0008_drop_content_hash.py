from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0007_caption_hash"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="item",
            name="content_hash",
        ),
    ]

"""Keep digests of the API keys in place of the keys; whoever has a key keeps using it."""

import hashlib

from django.db import migrations


def hash_keys(apps, schema_editor):
    tokens = apps.get_model("authtoken", "Token").objects
    for key in list(tokens.values_list("key", flat=True)):
        digest = hashlib.sha256(key.encode()).hexdigest()[:40]
        tokens.filter(key=key).update(key=digest)


def forget_keys_in_the_log(apps, schema_editor):
    """The admin's log names a token by its key."""
    entries = apps.get_model("admin", "LogEntry").objects
    entries.filter(content_type__app_label="authtoken").update(object_repr="API key")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("authtoken", "0004_alter_tokenproxy_options"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(hash_keys),
        migrations.RunPython(forget_keys_in_the_log),
    ]

"""`manage.py drf_create_token`: REST framework's command, for keys that are kept as digests."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework.authtoken.models import Token

from search.api.tokens import issue_key


class Command(BaseCommand):
    help = "Make an API key for a user and print it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "-r", "--reset", action="store_true", help="revoke the key that the user has"
        )

    def handle(self, *args: Any, username: str, reset: bool, **options: Any) -> None:  # noqa: ARG002
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        if reset:
            Token.objects.filter(user=user).delete()
        elif Token.objects.filter(user=user).exists():
            raise CommandError(
                f"{username} has a key, which was shown once. Replace it with --reset."
            )
        self.stdout.write(issue_key(user))

"""API keys: shown once, kept as digests, so that a copy of the database opens nothing."""

from __future__ import annotations

import hashlib

from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token


def issue_key(user: User) -> str:
    """A new key for someone who has none; nobody can tell it again."""
    key = Token.generate_key()
    Token.objects.create(user=user, key=digest(key))
    return key


def digest(key: str) -> str:
    """What is kept of a key: 160 bits of its SHA-256, which is all that a random key needs."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]

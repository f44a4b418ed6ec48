"""Messages for people, as pages show them."""

from __future__ import annotations

import re

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def prose(message: str) -> SafeString:
    """A message as HTML: what it has between two backticks is code."""
    parts = re.split(r"`([^`]+)`", message)
    marked = [
        format_html("<code>{}</code>" if at % 2 else "{}", part) for at, part in enumerate(parts)
    ]
    return SafeString("".join(marked))

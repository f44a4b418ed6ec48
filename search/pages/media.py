"""Serving pictures: from the catalogue's folders alone, as pictures or not at all."""

from __future__ import annotations

import logging
from pathlib import PurePath
from typing import Final

from django.core.exceptions import SuspiciousFileOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, quote_etag

from catalog.linking import is_linked
from catalog.models import Item
from catalog.storage import CatalogStorage, PicturesUnavailable
from search.pages import query_pictures
from search.visitors import is_open

logger = logging.getLogger(__name__)

PICTURE_TYPES: Final = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jfif": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
"""Types that a browser may show. SVG is not among them: it can carry scripts."""
IMMUTABLE: Final = 31_536_000
"""Seconds (a year): the names of our own files hold a digest of their content."""
LINKED: Final = 300
"""Seconds: linked files belong to someone else, who may change them."""
RETRY: Final = 5
"""Seconds until a picture that cannot be had just now may be asked for again."""


def media_response(request: HttpRequest, name: str) -> HttpResponseBase:
    """The file `name` of an item or of a query, or 304 where the browser has it. Raises Http404.

    Names that no item holds lead nowhere, whatever lies beside the pictures. Those of a bucket are
    passed on, so that who may see a page and who may see its pictures are the same.
    """
    if not query_pictures.is_name(name) and not Item.objects.with_file(name).exists():
        raise Http404(f"No item has the picture {name!r}.")
    content_type = PICTURE_TYPES.get(PurePath(name).suffix.lower(), "")
    try:
        file = CatalogStorage().open(name)
    except PicturesUnavailable as exc:
        logger.warning("%s", exc)
        headers = {"Retry-After": str(RETRY), "Cache-Control": "no-store"}
        return HttpResponse(str(exc), status=503, content_type="text/plain", headers=headers)
    except (SuspiciousFileOperation, OSError, ValueError) as exc:
        raise Http404(f"There is no picture {name!r}.") from exc
    etag = quote_etag(f"{int(file.modified * 1e6):x}-{file.size:x}")
    unmodified = get_conditional_response(request, etag=etag, last_modified=int(file.modified))
    if unmodified is not None:
        file.close()
        response: HttpResponseBase = unmodified
    else:
        response = FileResponse(
            file.stream,
            content_type=content_type or "application/octet-stream",
            as_attachment=not content_type,
            filename=PurePath(name).name,
        )
    audience = "public" if is_open(request) else "private"
    lifetime = f"max-age={LINKED}" if is_linked(name) else f"max-age={IMMUTABLE}, immutable"
    response["Cache-Control"] = f"{audience}, {lifetime}"
    _set_headers(response, etag=etag, modified=file.modified)
    return response


def _set_headers(response: HttpResponseBase, *, etag: str, modified: float) -> None:
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"

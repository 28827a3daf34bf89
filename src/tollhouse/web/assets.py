"""The pages' own files: style, scripts, icons, and the chart bundle. Their addresses carry a hash, so they are cached for ever.

The chart bundle (Vega, Vega-Lite and Vega-Embed, 0.9 MB) comes out of the vl-convert wheel; it is made when the first page
with a chart asks for it, and nothing of it is kept in our repository.
"""

import gzip
import hashlib
import mimetypes
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from tollhouse.kit.errors import NotFound
from tollhouse.web import vega

router = APIRouter(include_in_schema=False)
_HOME = Path(__file__).parent / "static"
CHARTS = "charts.js"
_making = threading.Lock()


@dataclass(frozen=True)
class Asset:
    """One file as it is sent: its content, the same gzipped if that is smaller, its type, and the hash of it."""

    content: bytes
    packed: bytes | None
    media_type: str
    hash: str


def _asset(content: bytes, name: str) -> Asset:
    packed = gzip.compress(content, 9, mtime=0)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if media_type.startswith("text/") or media_type.endswith("javascript"):
        media_type += "; charset=utf-8"
    return Asset(content, packed if len(packed) < len(content) else None, media_type, hashlib.sha256(content).hexdigest()[:12])


@cache
def _ours() -> dict[str, Asset]:
    files = (path for path in _HOME.rglob("*") if path.is_file())
    return {path.relative_to(_HOME).as_posix(): _asset(path.read_bytes(), path.name) for path in files}


@cache
def _charts() -> Asset:
    return _asset(vega.bundle(), CHARTS)


def asset_address(name: str) -> str:
    """Where one of the files is, with its hash; of the bundle, with the version of what is in it."""
    version = vega.VERSION if name == CHARTS else _ours()[name].hash
    return f"/static/{name}?v={version}"


@router.get("/static/{name:path}")
def static(request: Request, name: str) -> Response:
    """One of the files."""
    if name == CHARTS:
        with _making:
            asset = _charts()
    else:
        found = _ours().get(name)
        if found is None:
            raise NotFound("There is nothing at this address.")
        asset = found
    headers = {
        "cache-control": "public, max-age=31536000, immutable" if request.query_params.get("v") else "public, max-age=3600",
        "etag": f'"{asset.hash}"',
        "x-content-type-options": "nosniff",
        "vary": "accept-encoding",
        "cross-origin-resource-policy": "same-origin",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers=headers | {"content-encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)

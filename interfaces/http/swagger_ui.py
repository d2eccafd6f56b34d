"""Swagger UI, served from the files of an installed package: no other host is ever asked."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec import Struct

# Strict but for inline styles, which Swagger UI sets on its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Chronoledger API</title>
  <link rel="icon" href="assets/favicon-32x32.png" type="image/png">
  <link rel="stylesheet" href="assets/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="assets/swagger-ui-bundle.js"></script>
  <script src="start.js"></script>
</body>
</html>
"""
# A file of its own, because the policy above allows no inline script. No validator: it is on the internet.
_START = """window.onload = () => {
  SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
};
"""
# By name, so no path ever reaches the disk.
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


class _Asset(Struct, frozen=True):
    content: bytes
    media_type: str
    etag: str


@get("/swagger", include_in_schema=False)
async def swagger_root() -> Redirect:
    """To the page."""
    return Redirect("/swagger/index.html")


@get("/swagger/index.html", include_in_schema=False, media_type=MediaType.HTML)
async def swagger_page() -> Response[str]:
    """The page."""
    return Response(_PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": _POLICY})


@get("/swagger/start.js", include_in_schema=False)
async def swagger_start() -> Response[str]:
    """What starts Swagger UI on our document."""
    return Response(_START, media_type="text/javascript")


@get("/swagger/assets/{name:str}", include_in_schema=False)
async def swagger_asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of Swagger UI; browsers keep it and ask again only whether it is still the same."""
    if name not in _ASSETS:
        raise NotFoundException
    asset = _asset(name)
    headers = {"ETag": asset.etag, "Cache-Control": "public, max-age=3600"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


@lru_cache
def _asset(name: str) -> _Asset:
    content = (static_folder() / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return _Asset(content=content, media_type=_ASSETS[name], etag=f'"{digest}"')


def static_folder() -> Path:
    """Where the installed files are. Raises `FileNotFoundError` when they are not installed."""
    # Found, not imported: the package's code, a server of its own kind, is of no use here.
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Install swagger-ui-py: it holds the files of Swagger UI.")
    return Path(spec.origin).parent / "static"


swagger_handlers = [swagger_root, swagger_page, swagger_start, swagger_asset]

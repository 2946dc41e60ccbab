"""The log for monitors and witnesses: C2SP tlog-tiles, and the newest checkpoint as JSON."""

from fastapi import APIRouter
from starlette.responses import Response

from registry.core.tiles import TILE_WIDTH, parse_tile_path
from registry.errors import FormatError, NotFoundError
from registry.web.api.bodies import PROBLEMS, CheckpointView
from registry.web.services import Deps

router = APIRouter(tags=["log"], responses=PROBLEMS)

_IMMUTABLE = "private, max-age=31536000, immutable"


@router.get("/api/v1/checkpoint")
def checkpoint(deps: Deps) -> CheckpointView:
    """Return the newest signed tree head."""
    head = deps.registry.log.head()
    return CheckpointView(
        origin=head.origin, size=head.size, root=head.root.hex(), note=head.note.decode("utf-8")
    )


@router.get("/tlog/checkpoint", response_class=Response)
def checkpoint_note(deps: Deps) -> Response:
    """Return the newest checkpoint, a signed note with the cosignatures that it has so far."""
    return _note(deps.registry.witness.head(verify=False).checkpoint)


@router.get("/tlog/cosigned/checkpoint", response_class=Response)
def cosigned_checkpoint(deps: Deps) -> Response:
    """Return the newest checkpoint that a witness cosigned; the prefix has the same tiles."""
    return _note(deps.registry.witness.cosigned_head().checkpoint)


@router.get("/tlog/cosigned/tile/{path:path}", response_class=Response)
@router.get("/tlog/tile/{path:path}", response_class=Response)
def tile(deps: Deps, path: str) -> Response:
    """Return a tile of hashes, or a bundle of entries under `tile/entries`.

    A tile of one width never changes. A full one may be kept for ever; a partial one gives way to
    a wider one, and nobody asks for it again.
    """
    try:
        wanted = parse_tile_path(f"tile/{path}")
    except FormatError as error:
        raise NotFoundError(error.message, code="tile.unknown") from None
    log = deps.registry.log
    if wanted.level is None:
        data = log.bundle(wanted.index, wanted.width)
    else:
        data = log.tile(wanted.level, wanted.index, wanted.width)
    caching = _IMMUTABLE if wanted.width == TILE_WIDTH else "private, max-age=60"
    return Response(data, media_type="application/octet-stream", headers={"Cache-Control": caching})


def _note(text: str) -> Response:
    return Response(
        text, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )

"""The interface for programs: REST under /api/v1, and the log as C2SP tiles under /tlog."""

from fastapi import APIRouter

from registry.web.api import actions, assets, banks, matches, tlog, witness

router = APIRouter(prefix="/api/v1")
router.include_router(assets.router)
router.include_router(actions.router)
router.include_router(banks.router)
router.include_router(matches.router)
tlog_router = APIRouter()
tlog_router.include_router(tlog.router)
tlog_router.include_router(witness.router)

__all__ = ["router", "tlog_router"]

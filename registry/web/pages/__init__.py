"""The pages for people: server-rendered, without scripts, fit for a printer."""

from fastapi import APIRouter

from registry.web.pages import assets, log, login, verify
from registry.web.pages.environment import templates

router = APIRouter(include_in_schema=False)
router.include_router(assets.router)
router.include_router(verify.router)
router.include_router(log.router)
router.include_router(login.router)

__all__ = ["router", "templates"]

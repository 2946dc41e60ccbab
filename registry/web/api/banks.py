"""Which banks a look-up can search."""

from fastapi import APIRouter

from registry.core.bank_answers import BankView
from registry.web.api.bodies import PROBLEMS
from registry.web.services import Deps

router = APIRouter(tags=["assets"], responses=PROBLEMS)


@router.get("/banks")
def banks(deps: Deps) -> list[BankView]:
    """List the banks by name, with their kind, owner and how many entries stand.

    `registered`, every asset, is a bank too, and is not listed.
    """
    return deps.registry.banks.list()

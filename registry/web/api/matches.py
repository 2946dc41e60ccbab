"""What a person says of a match: the file again, and whether it really is what was found."""

from functools import partial
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, File, Form, UploadFile

from registry.core.bank_answers import MatchVerdictView
from registry.core.look_up import REGISTERED
from registry.errors import InputError
from registry.web.api.bodies import PROBLEMS
from registry.web.refs import checked_ref
from registry.web.services import Deps

router = APIRouter(tags=["actions"], responses=PROBLEMS)


@router.post("/matches")
async def judge(
    deps: Deps,
    file: Annotated[UploadFile, File(description="The file that was looked up")],
    candidate: Annotated[str, Form(min_length=8, max_length=128, description="A match's id")],
    verdict: Annotated[Literal["confirmed", "refuted"], Form()],
    reason: Annotated[str, Form(min_length=1, max_length=4000, description="Why; sealed")],
    bank: Annotated[str, Form(min_length=1, max_length=100)] = REGISTERED,
    actor: Annotated[str | None, Form(min_length=1, max_length=200)] = None,
) -> MatchVerdictView:
    """Confirm or refute a match of a file in a bank, by the service's reviewer key.

    A refuted match does not come up again in the same way; equal bytes or pixels cannot be refuted.
    """
    match = checked_ref(candidate)
    data = await file.read()
    if not data:
        raise InputError("no file arrived", code="request.empty", hint="send it as `file`")
    banks = deps.registry.banks
    say = banks.confirm if verdict == "confirmed" else banks.refute
    call = partial(say, data, match, reason=reason, bank=bank, actor=actor)
    return await to_thread.run_sync(call, limiter=deps.lookups)

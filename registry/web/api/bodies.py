"""What programs send, and the answers that only the service gives."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_GATE_REFS = 1000
"""Most assets of one gate request."""

Text = Annotated[str, Field(min_length=1, max_length=4000)]
RefText = Annotated[str, Field(min_length=8, max_length=128)]


class Body(BaseModel):
    """A request's JSON; a field that is not known is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GateBody(Body):
    """Which assets to judge under which shipped policy; `record` puts the decisions on the log."""

    refs: Annotated[list[RefText], Field(min_length=1, max_length=MAX_GATE_REFS)]
    policy: str = "default"
    record: bool = True


class TaintBody(Body):
    """Taint or clear an asset, a material or a record."""

    ref: RefText
    reason: Text
    severity: Literal["low", "medium", "high", "critical"] = "high"
    action: Literal["taint", "clear"] = "taint"
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Health(BaseModel):
    """The service answers; says nothing of the registry."""

    status: Literal["ok"] = "ok"


class CheckpointView(BaseModel):
    """The log's newest signed tree head: `note` is the C2SP signed note, `root` hex."""

    origin: str
    size: int
    root: str
    note: str


class Problem(BaseModel):
    """Every error: a stable code, what failed, what to do, and its class in the SDK."""

    code: str
    message: str
    hint: str
    kind: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request cannot be answered as it is"},
    "5XX": {"model": Problem, "description": "The registry cannot answer now"},
}

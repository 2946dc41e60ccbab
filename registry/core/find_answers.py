"""What is answered when many files are looked up: each of them, and all of them summed up."""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.answers import Answer
from registry.core.look_up import FindResult, FindVerdict


@dataclass(frozen=True, slots=True)
class FoundFile(Answer):
    r"""What one file was recognised as: `result`, or why it could not be looked up.

    Without a result, `code` and `reason` say why, and nothing is known of the file: that is not
    the same as no match. Bytes of a path that are no UTF-8 are written as `\xff`.
    """

    path: str
    result: FindResult | None
    code: str | None = None
    reason: str | None = None

    @property
    def verdict(self) -> FindVerdict | None:
        """The verdict of the strongest match, None where nothing is known."""
        return None if self.result is None else self.result.verdict


@dataclass(frozen=True, slots=True)
class FindReport(Answer):
    """Many files looked up: how many came to which verdict, how many failed, and each of them."""

    files: int
    verdicts: dict[FindVerdict, int]
    failed: int
    found: tuple[FoundFile, ...]

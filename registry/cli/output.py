"""Puts one answer on stdout: JSON exactly, or text that a pipe and a terminal can both show.

JSON is ASCII, so that no character of a prompt can steer a terminal or fail to be encoded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")


def emit(answer: T, render: Callable[[T], RenderableType | str], *, as_json: bool) -> None:
    """Print an answer or a list of answers.

    `render` is called only when text is wanted; a plain string from it is printed as it is, for
    formats that must not be wrapped. Raises typer.Exit when the reader of the output has gone.
    """
    if as_json:
        put(json.dumps(jsonable(answer), indent=2) + "\n")
        return
    text = render(answer)
    put(text if isinstance(text, str) else _typeset(text))


def _typeset(text: RenderableType) -> str:
    out = console()
    with out.capture() as captured:
        out.print(text)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def jsonable(answer: Any) -> Any:
    """Return an answer, or a sequence of answers, as JSON-ready values."""
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return [jsonable(item) for item in answer]
    return answer.to_dict() if hasattr(answer, "to_dict") else answer


def put(text: str) -> None:
    """Write text to stdout; characters that its encoding lacks become escapes."""
    from registry.cli.failures import close_pipe

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(close_pipe()) from None


def console() -> Console:
    """Return a console for stdout that takes texts literally: no markup, emoji or guessing."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, soft_wrap=False)

"""What becomes of an exception: one line and a hint, or one JSON object, and an exit code.

Never shows a traceback unless debugging was asked for; never sends a terminal anything that an
input made up.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import typer

from registry.cli.text import visible
from registry.errors import (
    GenopsError,
    InputError,
    MissingExtraError,
    PolicyError,
    RollbackError,
    UnavailableError,
)

INTERRUPTED = 130
PIPE_CLOSED = 141

_EXTRAS = {
    "torch": "generate",
    "diffusers": "generate",
    "transformers": "generate",
    "peft": "generate",
    "safetensors": "generate",
    "llguidance": "text",
    "bm25s": "text",
    "mlflow": "mlflow",
    "dvc": "dvc",
    "fastapi": "serve",
    "uvicorn": "serve",
    "jinja2": "serve",
    "starlette": "serve",
    "psycopg": "postgres",
}


def version() -> str:
    """Return the installed version, or `unknown` in a bare checkout."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("genops-registry")
    except PackageNotFoundError:
        return "unknown"


def wants_json(words: Sequence[str]) -> bool:
    """Tell whether the caller asked for JSON, even on a line that does not parse."""
    words = words[: words.index("--")] if "--" in words else words
    return "--json" in words or "--format=json" in words or ("--format", "json") in pairwise(words)


def report(error: BaseException, words: Sequence[str], *, debug: bool) -> int:
    """Say what went wrong and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    if debug:
        traceback.print_exception(error)
    failure = explain(error)
    try:
        _print(failure, as_json=wants_json(words))
    except BrokenPipeError:
        close_pipe()
    return failure.exit_code


def close_pipe() -> int:
    """Let the interpreter end quietly after the reader of the output went away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def explain(error: BaseException) -> GenopsError:
    """Turn any exception into an error with a code, a message and a hint."""
    if isinstance(error, GenopsError):
        return error
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, ModuleNotFoundError) and _extra(error) is not None:
        return MissingExtraError(
            f"this verb needs {error.name}, which is not installed",
            hint=f"pip install 'genops-registry[{_extra(error)}]'",
        )
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(
            f"{error.strerror}: {os.fsdecode(error.filename)}",
            code="input.file",
            hint="check the path and its permissions",
        )
    if _is_database(error):
        return UnavailableError(
            f"the database does not answer: {_first_line(error)}",
            code="store.unavailable",
            hint="see `genops doctor`",
        )
    return GenopsError(
        f"{type(error).__name__}: {_first_line(error)}",
        code="internal",
        hint="set GENOPS_DEBUG=1 to see where, and report it with that traceback",
    )


def _usage(error: typer.TyperException) -> GenopsError:
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "genops"
    hint = f"`{path} --help` shows how it is used"
    near = getattr(error, "possibilities", None)
    message = error.message if near is not None else error.format_message()
    if message == "Missing command.":
        message = f"{path} needs a verb of its own"
    if path == "genops" and near is not None:
        hint = "options come after the verb: genops VERB --home PATH"
    elif near:
        hint = f"did you mean {' or '.join(sorted(near))}?"
    return InputError(" ".join(message.split()), code="usage", hint=hint)


def _extra(error: ModuleNotFoundError) -> str | None:
    return _EXTRAS.get((error.name or "").partition(".")[0])


def _is_database(error: BaseException) -> bool:
    """Tell a database that is locked or away, without importing its library to ask."""
    library = sys.modules.get("sqlalchemy.exc")
    return library is not None and isinstance(error, library.OperationalError)


def _lines(failure: GenopsError) -> list[str]:
    """Return the message on one line; a policy's error keeps its lines, with the caret in them."""
    if isinstance(failure, PolicyError):
        return [visible(line) for line in failure.message.split("\n")]
    if isinstance(failure, RollbackError):
        return [visible(failure.message), *map(_head_line, failure.heads)]
    return [visible(failure.message)]


def _head_line(head: Mapping[str, Any]) -> str:
    """Return one of the checkpoints that do not fit together."""
    when = f", {head['time']}" if head.get("time") else ""
    line = f"  {head['where']}: {head['size']} records, root {head['root']}{when}"
    return visible(line)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no message"])[0]


def _print(failure: GenopsError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": failure.to_dict()}, indent=2), flush=True)
        return
    first, *more = _lines(failure)
    print(f"error[{failure.code}]: {first}", *more, sep="\n", file=sys.stderr)
    if failure.hint:
        print(f"hint: {visible(failure.hint)}", file=sys.stderr, flush=True)

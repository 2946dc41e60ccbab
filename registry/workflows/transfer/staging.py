"""Results that appear at once or not at all: made beside their place, then renamed into it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import GenopsError, InputError, UnavailableError
from registry.files import sync_folder


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `target` when the block ends well.

    Nobody else can reach it before. Whatever ends the block otherwise removes it. Raises
    InputError (`transfer.exists`) when something other than an empty folder is at `target`,
    UnavailableError (`transfer.unwritable`).
    """
    _refuse_taken(target)
    with _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        closed = _beside(target)
        closed.mkdir(mode=0o700)
        try:
            stage = closed / target.name
            stage.mkdir()
            yield stage
            os.sync()  # one for all of its files, where each of its own would take milliseconds
            _refuse_taken(target)
            stage.rename(target)
        finally:
            shutil.rmtree(closed, ignore_errors=True)
        sync_folder(target.parent)


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """Give the path of a new file (0600) that becomes `target` when the block ends well."""
    _refuse_taken(target)
    with _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = _beside(target)
        stage.touch(mode=0o600, exist_ok=False)
        try:
            yield stage
            with stage.open("rb") as file:
                os.fsync(file.fileno())
            os.link(stage, target)  # unlike a rename, it never replaces
        except FileExistsError:
            raise _taken(target) from None
        finally:
            stage.unlink(missing_ok=True)
        sync_folder(target.parent)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.part-{secrets.token_hex(6)}")


def _refuse_taken(target: Path) -> None:
    empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if (target.exists() or target.is_symlink()) and not empty:
        raise _taken(target)


def _taken(target: Path) -> InputError:
    return InputError(
        f"there is something at {target} already",
        code="transfer.exists",
        hint="name a new place; nothing is ever overwritten",
    )


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except GenopsError:
        raise
    except OSError as error:
        raise UnavailableError(
            f"cannot write {target}: {error.strerror or error}; nothing was left behind",
            code="transfer.unwritable",
            hint="check free space and permissions",
        ) from error

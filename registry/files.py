"""Files and folders that survive a power cut: their bytes, and the names that lead to them.

POSIX keeps neither before it is synced, and a name only once its folder is. Knows nothing of what
the files hold.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(path: Path) -> None:
    """Make a folder and those above it, where they are missing; durable on return."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist yet (UTF-8); durable on return.

    Raises FileExistsError.
    """
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)

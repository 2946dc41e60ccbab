"""Look many files up: folder by folder, a few at a time, in order; a bad file harms no other.

Whoever looks one file up is handed in, so that a served registry is asked in the same way. Opens
no registry and loads nothing heavy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from registry.core.find_answers import FoundFile
from registry.core.look_up import FindResult
from registry.errors import GenopsError, InputError
from registry.workflows.ingest_folder.walking import Found, Passed, Wanted, shown, walk

AT_ONCE = 2
"""Files that are looked up side by side; each may take a gigabyte while it is decoded."""
Find = Callable[[Path], FindResult]
Progress = Callable[[int, int], None]
"""Called with the files that are done and those there are in all."""

_OF_A_FILE = ("image.", "file.", "folder.")
_OF_AN_UPLOAD = frozenset({"request.too-large", "request.media-type", "request.empty"})
_DECODERS = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError)
"""What decoders raise on hostile files, beside errors of our own."""


def look_up_many(
    find: Find,
    paths: Sequence[str | Path],
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    hidden: bool,
    progress: Progress | None,
) -> Iterator[FoundFile]:
    """Yield what every file is, in the order of the paths and of the names below them.

    `include`, `exclude` and `hidden` are as of `Wanted`. Holds a few answers at most. A file that
    is missing, unreadable or no sound picture gives a line with its `code`. Raises InputError
    (`find.paths`) without a path, and what `find` raises that is no fault of a file, such as
    `find.bank` or UnavailableError.
    """
    if not paths:
        raise InputError("no file or folder was named", code="find.paths")
    wanted = Wanted(tuple(map(str, paths)), tuple(include), tuple(exclude), hidden)
    total = sum(1 for _ in _files(wanted)) if progress is not None else 0
    for done, found in enumerate(_in_order(find, _files(wanted)), 1):
        if progress is not None:
            progress(done, max(done, total))
        yield found


def _in_order(find: Find, files: Iterator[Found | Passed]) -> Iterator[FoundFile]:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look-up") as pool:
        waiting: deque[Future[FoundFile]] = deque()
        try:
            for file in files:
                waiting.append(pool.submit(_looked_up, find, file))
                if len(waiting) > 2 * AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _files(wanted: Wanted) -> Iterator[Found | Passed]:
    """Yield what is to be looked up, and what cannot be; what nobody asked for is left out."""
    for one in walk(wanted):
        if isinstance(one, Passed) and one.code == "file.name":  # a record could not hold it
            yield Found(one.path, one.path)
        elif isinstance(one, Found) or one.code is not None:
            yield one


def _looked_up(find: Find, file: Found | Passed) -> FoundFile:
    if isinstance(file, Passed):
        there = Path(file.path).exists()
        code, why = (file.code, file.why) if there else ("file.unreadable", "there is no such file")
        return FoundFile(shown(file.path), None, code, why)
    try:
        return FoundFile(shown(file.path), find(Path(file.path)))
    except GenopsError as error:
        if not (error.code.startswith(_OF_A_FILE) or error.code in _OF_AN_UPLOAD):
            raise
        return FoundFile(shown(file.path), None, error.code, error.message)
    except _DECODERS as error:
        why = f"cannot be decoded: {type(error).__name__}: {error}"
        return FoundFile(shown(file.path), None, "image.unreadable", why)

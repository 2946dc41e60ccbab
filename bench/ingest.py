"""A library is taken in: fingerprints and whole records, against loops over imagehash.

As a program, `python -m bench.ingest FOLDER PLACE JOBS SLOW`, it does them one after the other and
prints their times of a file: a process that does nothing else is what a core is.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.harness import Bar, Row, Size, Subject

WANTED = 2.0
SIDES = {"12 megapixels": 4032, "2048 px": 2048, "originals": None}
"""Longer side, pixels: as telephones take pictures, as the web has them, as they are."""
USUAL = "2048 px"
"""What all cores are given, too."""
PER_PICTURE = {"12 megapixels": 2, "2048 px": 4, "originals": 12}
"""Files for each of `Size.pictures`."""
_QUALITY = 90
OURS, FROZEN, PHASH, PARTS, WHOLE = "ours", "frozen", "phash", "parts", "whole"
MANY = "many"
"""The whole ingest by as many processes as there are cores."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Processor time of a file, seconds, of all processes; and the wall clock's part of a file."""

    cpu: float
    wall: float


def measure(place: Path, size: Size) -> Subject:
    """Take in small and large JPEGs; fingerprint the same files as others would."""
    rows: list[Row] = []
    bars: list[Bar] = []
    folders = []
    for name, side in SIDES.items():
        count = PER_PICTURE[name] * size.pictures
        longer = side and round(side * size.large_sides)
        folder = _library(place / name.replace(" ", "-"), size.pictures_from, count, longer)
        found = _measured(folder, max(1, size.pictures // 2), many=name == USUAL)
        rows += _rows(name, folder, found)
        bars += _bars(name, found)
        folders.append(folder)
    return Subject(
        title="A library of JPEGs is taken in",
        setting=f"{_said(size)}, as they are and enlarged. Files a second of one core: by the"
        " processor time of a process that does nothing else, its start left out where it is one.",
        rows=(*rows, *_drift(*folders)),
        bars=tuple(bars),
    )


def _said(size: Size) -> str:
    return "Drawn pictures" if size.pictures_from is None else "Photographs"


def _rows(name: str, folder: Path, found: dict[str, Measured]) -> Iterator[Row]:
    files = list(folder.iterdir())
    kib = sum(file.stat().st_size for file in files) / len(files) / 1024
    for what, title, said in (
        (OURS, "fingerprints", "whole, trimmed, segments, corners, PDQ, palette; thumbnail"),
        (FROZEN, "of them the whole picture's", "the frozen path alone: draft decoding, phash256"),
        (PHASH, "imagehash.phash", "phash(Image.open(f), hash_size=16): the whole picture only"),
        (PARTS, "imagehash.phash + crop_resistant_hash", "what recognises parts, too"),
        (WHOLE, "the whole ingest, one job", "fingerprints, vault, seal, sign, log, index; synced"),
    ):
        yield Row(f"{name}: {title}", 1 / found[what].cpu, "/s a core", said)
    many = found.get(MANY)
    if many is not None:
        said = f"wall clock, the processes' start included; {many.cpu / many.wall:.2f} cores busy; "
        said += f"{len(files)} files of {kib:,.0f} KiB"
        yield Row(f"{name}: the whole ingest, {os.cpu_count()} jobs", 1 / many.wall, "/s", said)


def _bars(name: str, found: dict[str, Measured]) -> Iterator[Bar]:
    """Compare like with like, and the whole with the least that a loop over imagehash does."""
    for claim, ours, peer, called in (
        ("phash256 on its frozen path", FROZEN, PHASH, "phash"),
        ("all fingerprints", OURS, PARTS, "phash + crop_resistant_hash"),
        ("the whole ingest", WHOLE, PARTS, "phash + crop_resistant_hash"),
        ("the whole ingest", WHOLE, PHASH, "phash, and nothing else"),
    ):
        ratio = found[peer].cpu / found[ours].cpu
        yield Bar(
            f"{name}: {claim}, per core, against a loop over imagehash ({called})",
            f"≥ {WANTED:.0f}x",
            f"{ratio:.1f}x",
            ratio >= WANTED,
        )


def _library(folder: Path, pictures: Path | None, count: int, side: int | None) -> Path:
    """Write so many JPEGs; where there are fewer pictures, some are written at another quality."""
    folder.mkdir()
    for number, image in enumerate(islice(_images(pictures, count), count)):
        share = 1.0 if side is None else side / max(image.size)
        sized = image.resize((round(image.width * share), round(image.height * share)))
        sized.save(folder / f"{number:05}.jpg", "JPEG", quality=_QUALITY - number // 300)
    return folder


def _images(pictures: Path | None, count: int) -> Iterator[Any]:
    from PIL import Image

    from bench import inputs

    if pictures is None:
        yield from (inputs.picture(seed, 512) for seed in range(count))
        return
    for path in cycle(sorted(pictures.rglob("*.jpg"))):
        image = Image.open(path).convert("RGB")
        if min(image.size) >= 256:
            yield image


def _drift(*folders: Path) -> Iterator[Row]:
    """Compare our hash with that of imagehash's default path."""
    import imagehash
    import numpy as np
    from PIL import Image

    from registry.settings import Limits
    from registry.similarity.fingerprints import fingerprint

    apart = []
    for folder in folders:
        for file in sorted(folder.iterdir()):
            made = fingerprint(file.read_bytes(), Limits())
            if made is not None:
                theirs = np.packbits(imagehash.phash(Image.open(file), hash_size=16).hash).tobytes()
                one, other = (int.from_bytes(value, "big") for value in (made.value, theirs))
                apart.append((one ^ other).bit_count())
    share = sum(distance == 0 for distance in apart) / len(apart)
    yield Row(
        "drift from imagehash's default path",
        max(apart),
        "bits of 256",
        f"at most, of {len(apart)} files; {share:.0%} have none",
    )


def _measured(folder: Path, slow: int, *, many: bool) -> dict[str, Measured]:
    """Have a process of its own measure everything; the slow peer on so many files."""
    place, jobs = f"{folder}-homes", (os.cpu_count() or 1) if many else 0
    command = [sys.executable, "-m", "bench.ingest", str(folder), place, str(jobs), str(slow)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {what: Measured(**times) for what, times in json.loads(done.stdout).items()}


def _ours(files: Sequence[Path]) -> None:
    from registry.settings import Limits
    from registry.similarity.prints import prints_of

    for file in files:
        prints_of(file.read_bytes(), Limits())


def _frozen(files: Sequence[Path]) -> None:
    from registry.settings import Limits
    from registry.similarity.fingerprints import fingerprint

    for file in files:
        fingerprint(file.read_bytes(), Limits())


def _phash(files: Sequence[Path]) -> None:
    import imagehash
    from PIL import Image

    for file in files:
        imagehash.phash(Image.open(file), hash_size=16)


def _parts(files: Sequence[Path]) -> None:
    import imagehash
    from PIL import Image

    for file in files:
        imagehash.phash(Image.open(file), hash_size=16)
        imagehash.crop_resistant_hash(Image.open(file))


def _whole(home: Path, folder: Path, jobs: int) -> Measured:
    from registry import create_registry

    with create_registry(home, name="bench") as registry:
        first, *others = sorted(folder.iterdir())
        registry.ingest_many([first])
        return _timed(lambda: registry.ingest_many(others, jobs=jobs), len(others))


def _timed(work: Callable[[], object], files: int) -> Measured:
    """Return the time of a file; of processes that ended, their processor time too."""
    begun, cpu = time.perf_counter(), _cpu()
    work()
    return Measured((_cpu() - cpu) / files, (time.perf_counter() - begun) / files)


def _cpu() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def main(folder: Path, place: Path, jobs: int, slow: int) -> dict[str, Measured]:
    """Do everything with the files of a folder; the first of them loads what is loaded late.

    Without `jobs`, nothing is done by several processes.
    """
    files = sorted(folder.iterdir())
    found = {}
    for what, work in {OURS: _ours, FROZEN: _frozen, PHASH: _phash, PARTS: _parts}.items():
        work(files[:1])
        chosen = files[1 : 1 + slow] if what == PARTS else files[1:]
        found[what] = _timed(partial(work, chosen), len(chosen))
    found[WHOLE] = _whole(place / WHOLE, folder, 1)
    if jobs:
        found[MANY] = _whole(place / MANY, folder, jobs)
    return found


if __name__ == "__main__":
    times = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps({what: asdict(found) for what, found in times.items()}))

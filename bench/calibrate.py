"""Makes the calibration that is shipped: how near crops of different pictures come to each other.

`python -m bench.calibrate PHOTOGRAPHS [MORE…]` counts, prints the tails, and with `--out` writes
the table. Of the first folder only the half counts that thresholds may be tuned on. With `--check`
the other half is counted, and shown beside what the shipped table says of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bench.robust import is_tuning
from registry.settings import Limits
from registry.similarity.calibrating import count_distances, count_passes
from registry.similarity.calibrations import default
from registry.similarity.certainty import Calibration, Distances, from_json, rate_of, to_json
from registry.similarity.decode import open_image
from registry.similarity.fingerprints import PHASH256, grey_of, luma_of, value_of
from registry.similarity.pdq import PDQ, pdq_of
from registry.similarity.segments import SEGMENTS, segments_of
from registry.similarity.sources import Rows
from registry.similarity.thumbs import thumbnail_of
from registry.similarity.verify import VERIFIER, Probe
from registry.similarity.vote_index import VoteIndex
from registry.similarity.votes import votes_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SEED = 20
LEAST_SHARE = 0.5
"""Shortest side of a crop, as a share of the picture's."""
LEAST_SIDE = 64
"""Shortest side of a picture that counts, pixels."""
NOTHING = Calibration({}, {})
CHECKED = (46, 54, 62, 66, 70, 78, 86)
SHOWN = (19, 35, 46, 61, 69, 85)


@dataclass(frozen=True, slots=True)
class Amount:
    """How many crops of a picture are hashed, by what, and verified against how many others."""

    whole: int
    segments: int
    pdq: int
    probes: int
    rivals: int


@dataclass(frozen=True, slots=True)
class _Values:
    codes: Any
    sources: Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, show and write."""
    chosen = _arguments(arguments)
    files = list(_files(chosen.folders, tuning=not chosen.check))
    amount = Amount(chosen.crops, chosen.segments, chosen.segments, chosen.probes, chosen.rivals)
    opened = (open_image(path, Limits()).convert("RGB") for path in files)
    pictures = [picture for picture in opened if min(picture.size) >= LEAST_SIDE]
    if chosen.check:
        _check(_values(pictures, chosen.crops, _phash))
        return 0
    kept = from_json(json.loads(chosen.keep.read_text("utf-8"))) if chosen.keep else NOTHING
    table = to_json(calibration(pictures, amount, _made(chosen, len(pictures)), kept))
    _show(table)
    if chosen.out:
        text = json.dumps(table, separators=(",", ":"), sort_keys=True)
        chosen.out.write_text(text.replace('},"', '},\n"') + "\n", "utf-8")
    return 0


def calibration(
    pictures: Sequence[Image.Image], amount: Amount, made: dict[str, Any], kept: Calibration
) -> Calibration:
    """Count the distances and the verifier's mistakes between these pictures.

    What `kept` has under a name that is still in use is not counted again.
    """
    wanted = {
        PHASH256: partial(_values, pictures, amount.whole, _phash),
        SEGMENTS: partial(_values, pictures, amount.segments, segments_of),
        PDQ: partial(_values, pictures, amount.pdq, _pdq),
    }
    distances = {name: one for name, one in kept.fingerprints.items() if name in wanted}
    for name in wanted.keys() - distances.keys():
        values = wanted[name]()
        if len(values.codes):
            distances[name] = count_distances(values.codes, values.sources)
    passes = kept.verifiers.get(VERIFIER) or count_passes(list(_trials(pictures, amount)))
    return Calibration(distances, {VERIFIER: passes}, made)


def _phash(image: Image.Image) -> tuple[bytes, ...]:
    value = value_of(luma_of(image))
    return () if value is None else (value[0],)


def _pdq(image: Image.Image) -> tuple[bytes, ...]:
    value = pdq_of(grey_of(image))
    return () if value is None else (value[0],)


def _values(pictures: Sequence[Image.Image], crops: int, hashed: Any) -> _Values:
    """Hash each picture as it is and crops of it; a source is the number of its picture."""
    codes: list[bytes] = []
    sources: list[int] = []
    for number, picture in enumerate(pictures):
        found = [value for crop in _crops(picture, number, crops) for value in hashed(crop)]
        codes += found
        sources += [number] * len(found)
    packed = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 32)
    return _Values(packed, np.array(sources, np.int64))


def _crops(picture: Image.Image, number: int, count: int) -> Iterator[Image.Image]:
    rng = np.random.default_rng((SEED, number))
    if count:
        yield picture
    for _ in range(count - 1):
        share = rng.uniform(LEAST_SHARE, 1.0)
        width, height = int(picture.width * share), int(picture.height * share)
        left = int(rng.integers(0, picture.width - width + 1))
        top = int(rng.integers(0, picture.height - height + 1))
        yield picture.crop((left, top, left + width, top + height))


def _trials(pictures: Sequence[Image.Image], amount: Amount) -> Iterator[tuple[int, int, int]]:
    """Verify crops against the pictures that share most corners with them, or look most alike."""
    stored, votes = _values(pictures, 1, segments_of), _votes(pictures)
    thumbnails = [thumbnail_of(grey_of(picture)) for picture in pictures]
    for number, picture in enumerate(pictures):
        for nth, crop in enumerate(_crops(picture, len(pictures) + number, amount.probes)):
            query = ImageOps.mirror(crop) if nth % 4 == 3 else crop
            probe = Probe(grey_of(query))
            alike = _rivals(query, number, stored)[: amount.rivals // 2]
            shared = votes.search(probe.keys(mirrored=False), amount.rivals)
            shared += votes.search(probe.keys(mirrored=True), amount.rivals)
            voted = dict.fromkeys(int(name, 16) for name, _ in shared)
            rivals = dict.fromkeys([*(one for one in voted if one != number), *alike])
            for rival in rivals:
                found = probe.against(thumbnails[rival])
                yield number, rival, found.inliers if found else 0


def _rivals(query: Image.Image, own: int, stored: _Values) -> list[int]:
    """Return the other pictures, those with the most alike region first."""
    words = stored.codes.view(np.uint64)
    best = np.full(len(words), 256, np.uint16)
    for value in segments_of(query):
        mine = np.frombuffer(value, np.uint64)
        best = np.minimum(best, np.bitwise_count(words ^ mine).sum(axis=1, dtype=np.uint16))
    order = dict.fromkeys(stored.sources[np.argsort(best, kind="stable")].tolist())
    return [source for source in order if source != own]


def _votes(pictures: Sequence[Image.Image]) -> VoteIndex:
    """Index the corners of the pictures by their numbers."""
    index = VoteIndex()
    for number, picture in enumerate(pictures):
        keys, name = votes_of(picture), number.to_bytes(32, "big")
        parts = [keys[start : start + 32] for start in range(0, len(keys), 32)]
        index.add(Rows(number, b"".join(name + part for part in parts)))
    return index


def _check(values: _Values) -> None:
    """Show how often pictures that nothing was tuned on come near, and what was expected."""
    found, shipped = count_distances(values.codes, values.sources), default().fingerprints[PHASH256]
    print(f"{PHASH256}: {found.pairs:.3g} pairs of {found.sources} other pictures")
    for distance in CHECKED:
        rate, seen = rate_of(shipped, distance), found.hits[distance] / found.pairs
        held = "within" if seen <= rate.bound else "ABOVE"
        print(f"  {distance:3}: {seen:.1e}, expected {rate.value:.1e}, {held} {rate.bound:.1e}")


def _files(folders: Sequence[Path], *, tuning: bool) -> Iterator[Path]:
    for nth, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and (
                (nth and tuning) or is_tuning(path.name) == tuning
            ):
                yield path


def _made(chosen: argparse.Namespace, pictures: int) -> dict[str, Any]:
    named = " ".join(path.name for path in chosen.folders)
    return {
        "command": f"python -m bench.calibrate {named} --crops {chosen.crops} "
        f"--segments {chosen.segments} --probes {chosen.probes} --rivals {chosen.rivals}",
        "pictures": pictures,
        "what": "crops of half to all of each side, of different pictures; of the first folder "
        "the half that thresholds may be tuned on",
        "seed": SEED,
    }


def _show(table: dict[str, Any]) -> None:
    for name, one in table["fingerprints"].items():
        counted = Distances(
            one["pairs"], one["sources"], tuple(one["hits"]), tuple(one["effective"])
        )
        print(f"{name}: {counted.pairs:.3g} pairs of {counted.sources} pictures")
        for distance in SHOWN:
            rate = rate_of(counted, distance)
            how = "extrapolated" if rate.extrapolated else f"{counted.hits[distance]} counted"
            print(f"  {distance:3}: {rate.value:.1e}, at most {rate.bound:.1e} ({how})")
        for power in (-4, -6, -8, -9):
            at = max((d for d in range(129) if rate_of(counted, d).value <= 10**power), default=-1)
            print(f"  1e{power} at {at}")
    for name, one in table["verifiers"].items():
        reached = {k: n for k, n in enumerate(one["passes"]) if n}
        print(f"{name}: {one['trials']} trials, inliers reached: {reached}")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of pictures")
    parser.add_argument("--crops", type=int, default=230, help="of each picture, hashed whole")
    parser.add_argument("--segments", type=int, default=16, help="of each, hashed by regions")
    parser.add_argument("--probes", type=int, default=4, help="of each, verified")
    parser.add_argument("--rivals", type=int, default=10, help="others that each is verified with")
    parser.add_argument(
        "--keep", type=Path, help="a table whose counts are kept where their names are in use"
    )
    parser.add_argument("--check", action="store_true", help="count the other half, and compare")
    parser.add_argument("--out", type=Path, help="where the table is written")
    return parser.parse_args(given)


if __name__ == "__main__":
    raise SystemExit(main())

"""How much of what people do to pictures the look-up sees through, and what it mistakes.

By the product's own verdicts, at the threshold that it ships with. Photographs that thresholds may
be tuned on are told apart by their names; only the others are reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from sqlalchemy import Engine

from bench import crops
from bench.crops import Crop
from bench.harness import Bar, Row, Size, Subject
from bench.transforms import GROUPS, TRANSFORMS, Transform, saved
from registry.factory import assemble, create_registry
from registry.sdk import Registry
from registry.settings import Limits, load_settings
from registry.similarity.decode import open_image
from registry.similarity.fingerprints import grey_of, luma_of, value_of
from registry.similarity.hits import WHOLE
from registry.similarity.indexes import index_of
from registry.similarity.pdq import PDQ, pdq_of
from registry.similarity.segments import SEGMENTS
from registry.similarity.vote_index import vote_index_of
from registry.similarity.votes import VOTES
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import OutputRow
from registry.store.sidecar_tables import FingerprintRow, ThumbnailRow
from registry.store.transaction import write
from registry.store.types import table_of

SEED = 5
PDQ_BITS = 31
PHASH64_BITS = 10
THREADS = 2
_GENERATED_SIDE = 512
PROMPTS = (
    "a red mug on a blue table, studio light",
    "a green vase on a white table, sunset light",
    "a yellow lamp on a black table, studio light",
    "a blue bottle on a red table, night light",
)
"""Things that do not look alike: the model draws one thing nearly the same from every seed."""
_FIRST_NODE = 1_000_000_000
_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Source:
    """A picture that is registered: its asset id, and what peers keep of it."""

    id: str
    image: Image.Image
    pdq: bytes | None
    phash64: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one query gave: how its source was found, and how many others were taken for it.

    `verdict` is that of the source's match, `none` where it was not found; `false` counts others
    by verdict, `pdq` and `phash64` tell whether peers found it.
    """

    source: str
    transform: Transform
    verdict: str
    false: dict[str, int]
    pdq: bool
    phash64: bool
    false_pdq: int
    false_phash64: int


@dataclass(frozen=True, slots=True)
class _Peers:
    """What PDQ and the hash of 64 bits are compared with: (n, 4) and (n,) uint64, by asset."""

    pdq: Any
    pdq_ids: tuple[str, ...]
    phash64: Any
    phash64_ids: tuple[str, ...]


def is_tuning(name: str) -> bool:
    """Tell by a file's name whether thresholds may be tuned on it; about half are."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2 == 0


def measure(place: Path, size: Size) -> Subject:
    """Register pictures among crops of others, wreck them, and look all of the wrecks up."""
    held_out, others = _pictures(size)
    fillers = crops.bank(others, size.bank - len(held_out), SEED)
    home = place / "home"
    create_registry(home, name="bench").close()
    with Registry(assemble(load_settings(home))) as registry:
        registered = [_registered(registry, place, picture) for picture in held_out]
        sources = [source for source in registered if value_of(luma_of(source.image))]
        engine = registry.log.engine
        _store(engine, fillers)
        few = _outcomes(registry, sources, fillers, TRANSFORMS)
        _enlarge(engine, fillers, size.bank_large - size.bank)
        many = _outcomes(registry, sources[:: size.bank_large_every], fillers, TRANSFORMS)
    return Subject(
        title="Look-up of pictures that were changed",
        setting=_setting(size, len(sources), len(registered), few, many),
        rows=(*_rows(few, many, size), *_mistakes(few, many, size)),
        bars=tuple(_bars(few, size)),
    )


def _pictures(size: Size) -> tuple[list[Image.Image], list[Path | Image.Image]]:
    """Return the pictures to look up, and those that only fill the banks."""
    folder = size.pictures_from
    if folder is None:
        looked_up, other = (Image.fromarray(pixels) for pixels in load_sample_images().images)
        return [looked_up], [other]
    paths = sorted(folder.glob("*.jpg"))
    chosen = [path for path in paths if not is_tuning(path.name)]
    chosen = chosen[:: max(1, len(chosen) // size.looked_up)][: size.looked_up]
    held_out = [open_image(path, Limits()).convert("RGB") for path in chosen]
    rest: list[Path | Image.Image] = [path for path in paths if path not in chosen]
    return held_out + generated([(prompt, 0) for prompt in PROMPTS[: size.generated]]), rest


def generated(wanted: Sequence[tuple[str, int]]) -> list[Image.Image]:
    """Return pictures of the demo model by prompt and seed, enlarged: it draws 64 pixels a side."""
    if not wanted:
        return []
    import torch
    from diffusers import StableDiffusionPipeline

    from generators.demo_model import BASE

    pipe: Any = StableDiffusionPipeline.from_pretrained(BASE, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    made = []
    for prompt, seed in wanted:
        generator = torch.Generator().manual_seed(seed)
        drawn = pipe(prompt, num_inference_steps=20, generator=generator).images[0]
        made.append(drawn.resize((_GENERATED_SIDE,) * 2, Image.Resampling.LANCZOS))
    return made


def _registered(registry: Registry, place: Path, image: Image.Image) -> Source:
    path = place / "picture.png"
    image.save(path)
    grey = pdq_of(grey_of(image))
    return Source(registry.ingest(path).assets[0], image, grey and grey[0], crops.phash64(image))


def _store(engine: Engine, fillers: Sequence[Crop]) -> None:
    """Store crops as what a record would leave of them."""
    prints = (
        {"sha256": bytes.fromhex(crop.sha256), "name": name, "value": value, "quality": 100}
        for crop in fillers
        for name, value in crop.values.items()
    )
    small = (
        {"sha256": bytes.fromhex(crop.sha256), "data": crop.thumbnail, "made": "bench"}
        for crop in fillers
    )
    with write(engine) as conn:
        insert_rows(conn, table_of(FingerprintRow), list(prints))
        insert_rows(conn, table_of(ThumbnailRow), list(small))
    _hold(engine, [bytes.fromhex(crop.sha256) for crop in fillers], 0)


def _enlarge(engine: Engine, fillers: Sequence[Crop], count: int) -> None:
    """Add assets to what is searched; the database only learns of them that they are there."""
    if count <= 0:
        return
    index: Any = index_of(engine, WHOLE)
    for rows in crops.around(_values(fillers, WHOLE[0]), count, SEED):
        index.add(rows)
    parts: Any = index_of(engine, (SEGMENTS,))
    for rows in crops.around(_values(fillers, SEGMENTS), count, SEED + 1):
        parts.add(rows)
    for rows in crops.corners_around(_values(fillers, VOTES), count, SEED + 2):
        vote_index_of(engine).add(rows)
    for start in range(0, count, _BATCH):
        digests = crops.digests(start + 1, min(_BATCH, count - start))
        _hold(engine, [digest.tobytes() for digest in digests], start + len(fillers))


def _values(fillers: Sequence[Crop], name: str) -> list[bytes]:
    return [crop.values[name] for crop in fillers if name in crop.values]


def _hold(engine: Engine, digests: Sequence[bytes], start: int) -> None:
    """Have the catalog hold these as outputs of the record at index 1."""
    rows = [
        {
            "node_id": _FIRST_NODE + start + number,
            "record_idx": 1,
            "sha256": digest,
            "pixels": None,
            "media_type": None,
            "width": None,
            "height": None,
            "size": None,
            "seed": None,
        }
        for number, digest in enumerate(digests)
    ]
    with write(engine) as conn:
        insert_rows(conn, table_of(OutputRow), rows)


def _outcomes(
    registry: Registry,
    sources: Sequence[Source],
    fillers: Sequence[Crop],
    transforms: Sequence[Transform],
) -> list[Outcome]:
    peers = _peers(sources, fillers)
    registry.find(saved(sources[0].image))  # loads the indexes, once in the life of a process
    jobs = [
        (source, transform, (SEED, number, nth))
        for number, source in enumerate(sources)
        for nth, transform in enumerate(transforms)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda job: _outcome(registry, peers, *job), jobs))


def _outcome(
    registry: Registry, peers: _Peers, source: Source, transform: Transform, seed: Any
) -> Outcome:
    data = transform.change(source.image, np.random.default_rng(seed))
    verdict, false = "none", {"match": 0, "probable": 0, "review": 0}
    for match in registry.find(data).matches:
        if match.id == source.id:
            verdict = match.verdict
        else:
            false[match.verdict] += 1
    image = open_image(data, Limits())
    pdq = pdq_of(grey_of(image))
    by_pdq = set() if pdq is None else _near_pdq(peers, pdq[0])
    by_phash = _near_phash64(peers, crops.phash64(image))
    return Outcome(
        source.id,
        transform,
        verdict,
        false,
        source.id in by_pdq,
        source.id in by_phash,
        len(by_pdq - {source.id}),
        len(by_phash - {source.id}),
    )


def _peers(sources: Sequence[Source], fillers: Sequence[Crop]) -> _Peers:
    listed = [(one.id, one.pdq) for one in sources]
    listed += [(crop.sha256, crop.values.get(PDQ)) for crop in fillers]
    kept = [(name, value) for name, value in listed if value is not None]
    short = [(one.id, one.phash64) for one in sources]
    short += [(crop.sha256, crop.phash64) for crop in fillers]
    return _Peers(
        np.frombuffer(b"".join(value for _, value in kept), np.uint64).reshape(-1, 4),
        tuple(name for name, _ in kept),
        np.array([value for _, value in short], np.uint64),
        tuple(name for name, _ in short),
    )


def _near_pdq(peers: _Peers, value: bytes) -> set[str]:
    apart = np.bitwise_count(peers.pdq ^ np.frombuffer(value, np.uint64)).sum(axis=1)
    return {peers.pdq_ids[row] for row in np.flatnonzero(apart <= PDQ_BITS)}


def _near_phash64(peers: _Peers, value: int) -> set[str]:
    apart = np.bitwise_count(peers.phash64 ^ np.uint64(value))
    return {peers.phash64_ids[row] for row in np.flatnonzero(apart <= PHASH64_BITS)}


def _rows(few: Sequence[Outcome], many: Sequence[Outcome], size: Size) -> Iterator[Row]:
    """Yield the recall of each change, and beside it what else was measured in the same run."""
    for transform in TRANSFORMS:
        ours = [one for one in few if one.transform is transform]
        large = [one for one in many if one.transform is transform]
        beside = (
            f"in {size.bank_large:,}: {_percent(_found(large))}; "
            f"PDQ ≤ {PDQ_BITS}: {_percent([one.pdq for one in ours])}; "
            f"phash64 ≤ {PHASH64_BITS}: {_percent([one.phash64 for one in ours])}"
        )
        yield Row(transform.name, 100 * _share(_found(ours)), "%", beside)


def _mistakes(few: Sequence[Outcome], many: Sequence[Outcome], size: Size) -> Iterator[Row]:
    """Yield how many others were taken for a query's source, by each verdict and by peers."""
    for which, outcomes in ((size.bank, few), (size.bank_large, many)):
        counted = {
            verdict: sum(one.false[verdict] for one in outcomes) for verdict in outcomes[0].false
        }
        yield Row(
            f"false matches in {which:,}",
            counted["match"],
            "",
            f"of {len(outcomes):,} queries; {counted['probable']} probable, "
            f"{counted['review']} for a person",
        )
    for name, found in (
        (f"PDQ ≤ {PDQ_BITS}", sum(one.false_pdq for one in few)),
        (f"phash64 ≤ {PHASH64_BITS}", sum(one.false_phash64 for one in few)),
    ):
        yield Row(f"false matches of {name}", found, "", f"the same queries in {size.bank:,}")


def _bars(few: Sequence[Outcome], size: Size) -> Iterator[Bar]:
    for group, wanted in GROUPS.items():
        if wanted is not None:
            found = _share(_found(one for one in few if one.transform.group == group))
            claim = f"recall in {size.bank:,}: {group}"
            yield Bar(claim, f"≥ {100 * wanted:.0f} %", f"{100 * found:.1f} %", found >= wanted)
    wrong = sum(one.false["match"] for one in few)
    yield Bar(f"false matches in {size.bank:,}, all cross pairs", "0", f"{wrong}", not wrong)


def _found(outcomes: Iterable[Outcome]) -> list[bool]:
    return [one.verdict == "match" for one in outcomes]


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0


def _percent(found: Sequence[bool]) -> str:
    return f"{100 * _share(found):.0f} %"


def _setting(
    size: Size, used: int, given: int, few: Sequence[Outcome], many: Sequence[Outcome]
) -> str:
    photographs = "scikit-learn's" if size.pictures_from is None else "of the held-out half"
    return (
        f"{used} of {given} pictures (photographs {photographs}, {size.generated} of the demo "
        "model; the others are too flat to be fingerprinted: found by bytes and pixels alone), "
        f"{len(TRANSFORMS)} changes at random places, seed {SEED}: {len(few):,} queries among "
        f"{size.bank:,} assets, all others crops of other pictures; {len(many):,} of them among "
        f"{size.bank_large:,}, the further ones around those crops. Found means the verdict "
        "`match` as shipped."
    )

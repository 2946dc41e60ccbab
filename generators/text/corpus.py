"""A brand's corpus: a folder of guidelines and past copy, and the passages that answer a query.

Ranks by BM25. Knows files and words; neither prompts nor records.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.files import DIGESTS, Content, files_below
from registry.core.generation import Material, ModelFile, Sealed
from registry.core.modelsets import modelset_digest
from registry.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MATERIAL = "dataset/corpus"
SUFFIXES = frozenset({".md", ".txt"})
ROLES = {"guidelines": "guideline", "past": "example"}
"""What a passage is to the writer, by the folder at the top of the corpus that it lies in."""
OTHER_ROLE = "reference"
MAX_FILES = 5_000
MAX_BYTES = 64 * 2**20
PASSAGE_CHARACTERS = 600
BM25 = {"method": "lucene", "k1": 1.5, "b": 0.75}
_PARAGRAPH = re.compile(rb"\S(?:.*\S)?(?:\r?\n[^\S\r\n]*\S.*)*")
_HEADING = b"#"


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph of a corpus file: where it stands (bytes), its score, what it is for."""

    file: str
    offset: int
    length: int
    role: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a query found in which state of a corpus, best first.

    `content` is the corpus as one material: a `modelset-v1` of files named by their own digests,
    so that no file name is told, and that a renamed file changes nothing.
    """

    content: Content
    query: str
    passages: tuple[Passage, ...]

    def to_record(self) -> dict[str, Any]:
        """Return what a record holds: texts, places and scores sealed, the rest plain."""
        return {
            "corpus": {"ref": self.content.material.name},
            "method": {"library": f"bm25s {_library().__version__}", **BM25},
            "query": Sealed(self.query),
            "count": len(self.passages),
            "passages": Sealed([asdict(passage) for passage in self.passages]),
        }


def retrieve(folder: Path, query: str, *, limit: int = 3) -> Retrieval:
    """Return the `limit` passages that answer a query best; none that shares no word with it.

    Equal scores are in the order of files and places. Raises InputError (`input.corpus`) for a
    folder without texts, or with more than `MAX_FILES` or `MAX_BYTES` of them.
    """
    paths = _texts(folder)
    passages = [passage for path in paths for passage in _passages(folder, path)]
    scores = _scores([passage.text for passage in passages], query)
    found = [
        Passage(**{**asdict(passage), "score": round(score, 6)})
        for passage, score in zip(passages, scores, strict=True)
        if score > 0
    ]
    found.sort(key=lambda passage: (-passage.score, passage.file, passage.offset))
    return Retrieval(_content(folder, paths), query, tuple(found[:limit]))


def corpus_digest(folder: Path) -> str:
    """Return the digest of a corpus as it is now; InputError as for `retrieve`."""
    return _content(folder, _texts(folder)).material.sha256


def found_changed(material: Mapping[str, Any], recorded: str) -> str:
    """Return the digest that a recorded corpus has by now; the recorded one where it is not here.

    `material` is the (unsealed) dependency of a record.
    """
    noted = material.get("annotations", {}).get("path")
    if not isinstance(noted, str) or not Path(noted).is_dir():
        return recorded
    try:
        return corpus_digest(Path(noted))
    except InputError:
        return "unreadable"


def _texts(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise _unusable(f"{folder} is not a folder")
    paths = sorted(path for path in files_below(folder) if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise _unusable(f"{folder} holds no texts")
    if len(paths) > MAX_FILES or sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise _unusable(f"{folder} is larger than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")
    return paths


def _content(folder: Path, paths: Sequence[Path]) -> Content:
    described = [(path, DIGESTS.describe(path, path.name)) for path in paths]
    files = {
        file.sha256: ModelFile(f"{file.sha256}{path.suffix.lower()}", file.size, file.sha256)
        for path, file in described
    }
    members = tuple(sorted(files.values(), key=lambda file: file.path))
    material = Material(
        name=MATERIAL,
        kind="dataset",
        sha256=modelset_digest(members),
        files=members,
        # A replay reads what the record quotes, not the corpus.
        annotations={"path": Sealed(str(folder.absolute())), "quoted": True},
    )
    return Content(material, ())


def _passages(folder: Path, path: Path) -> Iterator[Passage]:
    relative = path.relative_to(folder)
    role = ROLES.get(relative.parts[0], OTHER_ROLE)
    data = path.read_bytes()
    for match in _PARAGRAPH.finditer(data):
        if match[0].startswith(_HEADING):
            continue
        try:
            text = match[0].decode("utf-8")
        except UnicodeDecodeError:
            raise _unusable(f"{path} is not UTF-8 at byte {match.start()}") from None
        cut = text[:PASSAGE_CHARACTERS]
        length = len(cut.encode("utf-8"))
        yield Passage(relative.as_posix(), match.start(), length, role, 0.0, cut)


def _scores(texts: Sequence[str], query: str) -> list[float]:
    bm25s = _library()
    words = bm25s.tokenize([*texts, query], stopwords="en", return_ids=False, show_progress=False)
    index = bm25s.BM25(**BM25)
    if not any(words[:-1]) or not words[-1]:
        return [0.0] * len(texts)
    index.index(words[:-1], show_progress=False)
    return [float(score) for score in index.get_scores(words[-1])]


def _library() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError(
            "searching a corpus needs bm25s, which is not installed",
            hint="pip install 'genops-registry[text]'",
        ) from error
    return bm25s


def _unusable(why: str) -> InputError:
    return InputError(
        f"the corpus cannot be used: {why}",
        code="input.corpus",
        hint="Give a folder of UTF-8 texts (.md, .txt), guidelines/ and past/ among them.",
    )

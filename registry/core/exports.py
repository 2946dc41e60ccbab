"""What an export is made of: the names of its files, its list of digests, and its manifest.

Pure text and bytes (`genops-export-v1`); reading and writing files is done elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from registry.core.digests import is_sha256
from registry.core.jsonio import dumps, loads
from registry.core.tiles import parse_tile_path
from registry.errors import FormatError

FORMAT = "genops-export-v1"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
CHECKPOINT = "checkpoint"
VKEY = "log.vkey"
HOME = "home/"
KEYRING = f"{HOME}keyring.db"
CONFIG = f"{HOME}genops.toml"
PARTS = ("blobs", "home", "log", "texts")
"""What an export may hold; `home` are the secrets, which only a backup has."""
_PART_OF = {
    "blobs": "blobs",
    "envelopes": "log",
    "home": "home",
    "sealed": "texts",
    "tile": "log",
}
MAX_MANIFEST_BYTES = 64 * 1024
MAX_SUMS_BYTES = 4 * 1024**3

_ENVELOPE = re.compile(r"envelopes/([0-9a-f]{2})/(\1[0-9a-f]{62})\.json")
_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_SEALED = re.compile(r"sealed/([0-9]{12,16})\.bin")
_SIDECAR = re.compile(
    r"sidecars/(?:blobs|cosignatures|fingerprints|mirror-state|outbox|saved-searches|witnessed-logs"
    r"|thumbnails-[0-9a-f]{2})\.ndjson"
)
_HOME_FILE = re.compile(
    r"home/(?:genops\.toml|keyring\.db|retention\.yaml|vault/\.dvc/config"
    r"|(?:keys|witnesses|witnessed|witnessed/conflicts)/[A-Za-z0-9][A-Za-z0-9_.-]{0,120})"
)
_SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_SIZE_LIMIT = 2**53


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself.

    `parts` is a subset of `PARTS`, sorted. `size` and `root` (hex) are those of the checkpoint
    that the export was made at. `files` counts the lines of `SHA256SUMS`, whose digest is
    `sums_sha256`.
    """

    name: str
    uuid: str
    project: str
    policy: str
    parts: tuple[str, ...]
    size: int
    root: str
    files: int
    sums_sha256: str

    @property
    def origin(self) -> str:
        """The origin of the log that was exported."""
        return f"{self.name}/{self.uuid}"

    def has(self, part: str) -> bool:
        """Tell whether the export holds one of `PARTS`."""
        return part in self.parts

    def to_bytes(self) -> bytes:
        """Return the manifest as one line of JSON with sorted keys."""
        return dumps({"format": FORMAT, **asdict(self)}) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest; raises FormatError (`export.invalid`, `export.newer`, `json.*`)."""
        document = loads(data, max_bytes=MAX_MANIFEST_BYTES)
        if not isinstance(document, dict):
            raise invalid("its manifest is no JSON object")
        _check_format(document.pop("format", None))
        if document.keys() != _FIELDS.keys():
            raise invalid("its manifest lacks fields, or has unknown ones")
        for name, kind in _FIELDS.items():
            if type(document[name]) is not kind:
                raise invalid(f"{name} in its manifest is not of type {kind.__name__}")
        return cls(**{**document, "parts": _parts(document["parts"])})._checked()

    def _checked(self) -> Manifest:
        if not is_sha256(self.root) or not is_sha256(self.sums_sha256):
            raise invalid("a digest in its manifest is none")
        if not 0 <= self.size < _SIZE_LIMIT or not 0 <= self.files < _SIZE_LIMIT:
            raise invalid("a number in its manifest cannot be")
        return self


_FIELDS: Mapping[str, type] = {
    "name": str,
    "uuid": str,
    "project": str,
    "policy": str,
    "parts": list,
    "size": int,
    "root": str,
    "files": int,
    "sums_sha256": str,
}


def envelope_path(sha256: str) -> str:
    """Return the path of an envelope by its hex SHA-256."""
    return f"envelopes/{sha256[:2]}/{sha256}.json"


def blob_path(sha256: str) -> str:
    """Return the path of a blob by its hex SHA-256."""
    return f"blobs/{sha256[:2]}/{sha256}"


def sealed_path(index: int) -> str:
    """Return the path of a record's encrypted texts by its log index."""
    return f"sealed/{index:012d}.bin"


def sidecar_path(name: str) -> str:
    """Return the path of a table of sidecar rows, one JSON object a line."""
    return f"sidecars/{name}.ndjson"


def envelope_of(path: str) -> str | None:
    """Return the digest in the path of an envelope, None for other paths."""
    match = _ENVELOPE.fullmatch(path)
    return match[2] if match else None


def blob_of(path: str) -> str | None:
    """Return the digest in the path of a blob, None for other paths."""
    match = _BLOB.fullmatch(path)
    return match[2] if match else None


def sealed_index(path: str) -> int | None:
    """Return the log index in the path of encrypted texts, None for other paths."""
    match = _SEALED.fullmatch(path)
    if match is None or sealed_path(int(match[1])) != path:
        return None
    return int(match[1])


def is_home_file(path: str) -> bool:
    """Tell whether a backup holds such a file of a home: settings, keys, keyring."""
    return _HOME_FILE.fullmatch(path) is not None


def part_of(path: str) -> str | None:
    """Return which of `PARTS` a file belongs to; None for what every export has."""
    return _PART_OF.get(path.partition("/")[0])


def check_path(path: str) -> None:
    """Refuse what is no path of an export, so that none leads outside of it.

    Raises FormatError (`export.invalid`).
    """
    if path in {CHECKPOINT, VKEY, SUMS, MANIFEST}:
        return
    if path.startswith("tile/"):
        parse_tile_path(path)
        return
    shapes = (_ENVELOPE, _BLOB, _SIDECAR, _HOME_FILE)
    if sealed_index(path) is None and not any(shape.fullmatch(path) for shape in shapes):
        raise invalid(f"it holds an unknown file {path[:100]!r}")


def encode_sums(sums: Mapping[str, str]) -> bytes:
    """Return lines of `<sha256>  <path>`, by path, as `sha256sum --check` reads them."""
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode("ascii")


def parse_sums(data: bytes) -> dict[str, str]:
    """Read what `encode_sums` wrote, and nothing else; raises FormatError (`export.invalid`)."""
    if len(data) > MAX_SUMS_BYTES:
        raise invalid(f"its {SUMS} is too large")
    sums: dict[str, str] = {}
    for line in data.decode("ascii", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise invalid(f"its {SUMS} has a malformed line {line[:100]!r}")
        check_path(match[2])
        sums[match[2]] = match[1]
    if encode_sums(sums) != data:
        raise invalid(f"its {SUMS} is not in order, or names a file twice")
    return sums


def invalid(why: str) -> FormatError:
    """Return the error for bytes that are no export."""
    return FormatError(f"this is no registry's export: {why}", code="export.invalid")


def _check_format(found: Any) -> None:
    if found == FORMAT:
        return
    if isinstance(found, str) and found.startswith("genops-export-"):
        raise FormatError(
            f"the export has format {found[:40]}, and this program reads {FORMAT}",
            code="export.newer",
            hint="upgrade genops-registry",
        )
    raise invalid("its manifest names no format")


def _parts(found: list[Any]) -> tuple[str, ...]:
    parts = tuple(found)
    if not parts or any(part not in PARTS for part in parts) or parts != tuple(sorted(set(parts))):
        raise invalid("its manifest names unknown parts")
    return parts

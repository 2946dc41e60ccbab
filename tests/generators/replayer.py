"""Replays a file of jobs with the installed adapters and prints the digests of their outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from registry.core.digests import sha256_hex
from registry.workflows.replaying import load_adapter


def main() -> None:
    digests = []
    for one in json.loads(Path(sys.argv[1]).read_text()):
        job = SimpleNamespace(
            statement=one["statement"],
            materials={name: Path(path) for name, path in one["materials"].items()},
            overrides=one["overrides"],
            workdir=Path(one["workdir"]),
        )
        build_type = job.statement["predicate"]["buildDefinition"]["buildType"]
        outputs = load_adapter(build_type).replay(job)
        digests.append([sha256_hex(output.data) for output in outputs])
    print(json.dumps(digests))


if __name__ == "__main__":
    main()

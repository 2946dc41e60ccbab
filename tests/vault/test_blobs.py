"""The index answers by SHA-256 for exactly the blobs that it was given."""

from __future__ import annotations

from pathlib import Path

from registry.core.generation import Blob
from registry.settings import Home, Settings
from registry.store.engine import open_engine
from registry.store.sidecar_tables import BlobRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.vault.blobs import BlobIndex


def test_blobs_are_found_by_digest_in_any_number(tmp_path: Path) -> None:
    engine = open_engine(Settings(Home(tmp_path), "studio", "0"), create=True)
    blobs = [Blob(f"{n:064x}", f"{n:032x}", n) for n in range(1201)]
    with write(engine) as conn:
        conn.execute(
            table_of(BlobRow).insert(),
            [
                {"sha256": bytes.fromhex(b.sha256), "md5": bytes.fromhex(b.md5), "size": b.size}
                for b in blobs
            ],
        )
    index = BlobIndex(engine)
    assert index.get(blobs[7].sha256) == blobs[7]
    assert index.get("f" * 64) is None
    assert index.get_many([]) == {}
    wanted = [b.sha256 for b in blobs] + ["f" * 64]
    assert index.get_many(wanted) == {b.sha256: b for b in blobs}

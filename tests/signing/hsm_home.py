"""Makes a home whose generator key is on a token, records with it, and loses the PIN."""

from __future__ import annotations

import sys
from pathlib import Path

from registry.errors import KeyFileError
from registry.factory import create_registry, open_home
from registry.workflows.trust import KeyRequest, Wish


def main(home: Path, public: Path, uri: str) -> None:
    with create_registry(home, name="test", project="brand") as registry:
        wish = Wish(add=(KeyRequest(public.read_text(), ("generator",)),))
        registry.trust.change(wish, reason="a token")
    place = f'\n[signers.generator]\nuri = "{uri}"\npublic_key = "{public}"\n'
    config = home / "genops.toml"
    config.write_text(config.read_text() + place)
    picture = home.with_name("note.bin")
    picture.write_bytes(b"some bytes")
    with open_home(home) as registry:
        receipt = registry.ingest(picture)
        report = registry.check_log()
        signer = registry.get(receipt.assets[0]).signer
        print(signer["keyid"], report.ok and registry.verify(receipt.assets[0]).ok)
    picture.write_bytes(b"other bytes")
    import os

    del os.environ["GENOPS_HSM_PIN"]
    with open_home(home) as registry:
        try:
            registry.ingest(picture)
        except KeyFileError as error:
            print(error.code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

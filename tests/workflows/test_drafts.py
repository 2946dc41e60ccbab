"""Drafts expire whole when nobody keeps them: the log says so first, and everything agrees."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generators import recorded_callable, recording
from registry.core.generation import Generation, Material
from registry.errors import HeldError, IntegrityError, MaterialError, NotFoundError
from registry.factory import open_home, restore_registry
from registry.sdk import Registry
from registry.vault.segments import read_segment
from registry.vault.shelf import draft_pointers, pointers
from registry.vault.store import Vault
from registry.workflows import drafts as workflow
from tests.conftest import make_output

Make = Callable[..., Generation]
MODULE = "genops_drafted_functions"
SOURCE = """
from PIL import Image
def draw(seed=0):
    return Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 20 + seed).convert("RGB")
def wild(seed=0):
    import random
    return Image.effect_noise((64, 64), 50 + random.random()).convert("RGB")
def flip(image):
    return Image.eval(image, lambda value: 255 - value)
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)


def vault_of(registry: Registry) -> Vault:
    return Vault(registry.settings.home.vault)


def drafted(registry: Registry, generation: Make, *seeds: int, **fields: Any) -> list[str]:
    return [registry.record(generation(n, **fields), draft=True).assets[0] for n in seeds]


def used(asset: str, record: str | None = None) -> Material:
    digest = asset.removeprefix("sha256:")
    return Material(
        name="input/image", kind="image", sha256=digest, storage="vaulted", output_of=record
    )


def expired(registry: Registry, **options: Any) -> dict[str, str | None]:
    report = registry.drafts.expire(older_than_hours=0, **options)
    return {draft.id: draft.stays for draft in report.due}


def all_agrees(registry: Registry) -> bool:
    registry.sync_mirrors(["vault"])
    return (
        registry.check_log(blobs=True, fresh=True).ok
        and registry.check_mirror("vault") == ()
        and registry.check_catalog() == ()
    )


def in_segments(registry: Registry, *, drafts: bool) -> set[str]:
    vault = vault_of(registry)
    chosen = draft_pointers(vault) if drafts else pointers(vault)
    members = (read_segment(vault, pointer.path).members for pointer in chosen)
    return {blob.sha256 for found in members for blob in found.values()}


def digests(*assets: str) -> set[str]:
    return {asset.removeprefix("sha256:") for asset in assets}


@pytest.mark.both_databases
def test_drafts_that_nobody_kept_go_whole_and_their_records_stay(
    registry: Registry, generation: Make
) -> None:
    kept, gone, other = drafted(registry, generation, 1, 2, 3)
    plain = registry.record(generation(4)).assets[0]
    registry.taint(gone, reason="not ours")  # what is only said of a draft does not carry it
    registry.sync_mirrors(["vault"])
    assert in_segments(registry, drafts=True) == digests(kept, gone, other)
    assert digests(plain) <= in_segments(registry, drafts=False)
    assert not digests(kept, gone, other) & in_segments(registry, drafts=False)
    assert registry.drafts.keep([kept], reason="chosen").kept == (kept,)
    assert expired(registry, dry_run=True) == {other: None, gone: None}
    before = registry.log.head().size
    report = registry.drafts.expire(older_than_hours=0)
    assert (report.blobs, len(report.records), registry.log.head().size) == (2, 1, before + 1)
    assert report.freed > 0
    assert {d.id: d.state for d in registry.drafts.list()} == {
        other: "expired", gone: "expired", kept: "kept",
    }  # fmt: skip
    passport = registry.get(gone)
    assert (passport.draft, passport.events[-1].summary) == ("expired", "expired")
    assert passport.taints
    assert registry.get(kept).draft == "kept"
    assert registry.get(plain).draft is None
    with pytest.raises(MaterialError) as caught:
        registry.read(gone)
    assert caught.value.code == "draft.expired"
    assert registry.read(kept)
    assert registry.read(plain)
    (failed,) = (check for check in registry.verify(gone).checks if not check.ok)
    assert (failed.name, failed.detail[:13]) == ("blob", "draft.expired")
    assert all_agrees(registry)
    assert digests(kept) <= in_segments(registry, drafts=False)
    assert not digests(gone, other) & in_segments(registry, drafts=True)
    registry.rebuild_catalog()
    assert registry.get(gone).draft == "expired"
    assert expired(registry) == {}


def test_a_segment_of_drafts_goes_when_all_in_it_expired(
    registry: Registry, generation: Make
) -> None:
    kept, gone = drafted(registry, generation, 1, 2)
    registry.sync_mirrors(["vault"])
    (pointer,) = draft_pointers(vault_of(registry))
    files = sum(1 for _ in vault_of(registry).root.rglob("*.dir"))
    registry.drafts.keep([kept])
    registry.sync_mirrors(["vault"])
    expired(registry)
    assert draft_pointers(vault_of(registry)) == []
    assert pointer.path.exists() is False
    # One manifest came with the kept one, and the one of the drafts is gone.
    assert sum(1 for _ in vault_of(registry).root.rglob("*.dir")) == files
    assert registry.read(kept)
    assert gone not in {line.id for line in registry.list() if Path(line.path or "x").exists()}
    assert all_agrees(registry)


def test_what_something_keeps_stays_and_so_does_what_it_was_made_from(
    registry: Registry, generation: Make
) -> None:
    chain, base, held, approved, twice, free = drafted(registry, generation, 1, 2, 3, 4, 5, 6)
    middle = registry.record(generation(7, materials=(used(chain),)), draft=True).assets[0]
    registry.record(generation(8, materials=(used(middle),)))
    registry.record(generation(9, materials=(used(base),)), draft=True)
    registry.privacy.hold([held], reason="case 1")
    registry.releasing.review(approved, verdict="approved", reason="good")
    registry.record(generation(5))
    found = expired(registry)
    stays = {asset: why for asset, why in found.items() if why}
    assert stays.keys() == {chain, middle, held, approved, twice}
    assert "hold" in stays[held]
    assert "approved" in stays[approved]
    assert stays[middle] == stays[chain] == "something that stays was made from it"
    assert {asset for asset, why in found.items() if not why} >= {base, free}
    assert all(registry.read(asset) for asset in stays)
    assert all_agrees(registry)


def test_age_project_and_campaign_choose(registry: Registry, generation: Make) -> None:
    (spring,) = drafted(registry, generation, 1, campaign="spring")
    (winter,) = drafted(registry, generation, 2, campaign="winter")
    report = registry.drafts.expire(older_than_hours=1, dry_run=True)
    assert (report.due, report.records) == ((), ())
    assert expired(registry, campaign="spring") == {spring: None}
    assert registry.read(winter)
    assert [d.id for d in registry.drafts.list(state="draft")] == [winter]
    assert expired(registry, project="elsewhere") == {}


def test_a_hold_that_comes_in_between_wins(
    registry: Registry, generation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (asset,) = drafted(registry, generation, 1)
    judged = workflow._staying

    def held_meanwhile(*arguments: Any) -> Any:
        found = judged(*arguments)
        registry.privacy.hold([asset], reason="case 2")
        return found

    monkeypatch.setattr(workflow, "_staying", held_meanwhile)
    with pytest.raises(HeldError):
        registry.drafts.expire(older_than_hours=0)
    assert registry.read(asset)
    assert registry.get(asset).draft == "draft"


def test_an_expiry_that_was_cut_short_is_finished_by_the_next(
    registry: Registry, generation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = drafted(registry, generation, 1, 2)
    registry.sync_mirrors(["vault"])
    for step in ("shrink_segment", "_remove"):
        with monkeypatch.context() as patch:
            patch.setattr(workflow, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                registry.drafts.expire(older_than_hours=0)
        assert registry.get(first).draft == "expired"
        assert registry.check_mirror("vault") == ()  # a segment never names what is gone
    assert registry.drafts.expire(older_than_hours=0).blobs == 2
    assert all_agrees(registry)
    with pytest.raises(MaterialError):
        registry.read(second)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_drafts_that_expired_before_the_vault_was_sent_never_reach_a_segment(
    registry: Registry, generation: Make
) -> None:
    gone, kept = drafted(registry, generation, 1, 2)
    registry.drafts.keep([kept])
    expired(registry)
    assert all_agrees(registry)
    assert not digests(gone) & in_segments(registry, drafts=True)
    assert digests(kept) <= in_segments(registry, drafts=False)


def test_bytes_that_are_made_again_after_all_are_there_again(
    registry: Registry, generation: Make
) -> None:
    (asset,) = drafted(registry, generation, 1)
    registry.sync_mirrors(["vault"])
    expired(registry)
    registry.record(generation(1))
    assert registry.read(asset)
    assert all_agrees(registry)
    assert expired(registry) == {}
    assert registry.read(asset)


def test_an_expired_draft_is_made_again_and_kept(registry: Registry, functions: Any) -> None:
    _, receipt = recorded_callable(functions.draw, registry, draft=True).with_receipt(seed=3)
    _, random = recorded_callable(functions.wild, registry, draft=True).with_receipt(seed=3)
    (asset,), (other,) = receipt.assets, random.assets
    data = registry.read(asset)
    registry.sync_mirrors(["vault"])
    assert len(expired(registry)) == 2
    assert registry.reproduce(asset).verdict == "identical"
    with pytest.raises(MaterialError):  # a replay alone brings nothing back
        registry.read(asset)
    with pytest.raises(IntegrityError) as caught:
        registry.drafts.keep([asset, other])
    assert caught.value.code == "draft.differs"
    assert registry.get(asset).draft == "expired"
    done = registry.drafts.keep([asset])
    assert (done.kept, done.again) == ((asset,), (asset,))
    assert registry.read(asset) == data
    assert registry.drafts.keep([asset]).record is None
    assert all_agrees(registry)
    assert digests(asset) <= in_segments(registry, drafts=False)


def test_what_is_no_draft_cannot_be_kept(registry: Registry, generation: Make) -> None:
    plain = registry.record(generation(1)).assets[0]
    with pytest.raises(NotFoundError) as caught:
        registry.drafts.keep([plain])
    assert caught.value.code == "draft.none"


def test_one_of_a_batch_is_kept_and_the_others_go(registry: Registry, generation: Make) -> None:
    batch = generation(1, outputs=[make_output(n) for n in (1, 2, 3)])
    first, second, third = registry.record(batch, draft=True).assets
    registry.sync_mirrors(["vault"])
    registry.drafts.keep([second])
    assert expired(registry) == {first: None, third: None}
    assert registry.read(second)
    assert all_agrees(registry)


def test_blocks_of_code_make_drafts_too(registry: Registry) -> None:
    with recording(registry, "sketch", draft=True) as run:
        run.output("a sketch")
    assert [draft.id for draft in registry.drafts.list()] == list(run.receipt.assets)


def test_a_vault_with_expired_drafts_is_pulled_and_restored(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    kept, gone, waiting = drafted(registry, generation, 1, 2, 3)
    registry.record(generation(9))
    registry.sync_mirrors(["vault"])
    registry.drafts.keep([kept])
    (again,) = drafted(registry, generation, 4)
    registry.privacy.hold([waiting], reason="case 3")
    expired(registry)
    registry.sync_mirrors(["vault"])
    backup = tmp_path / "keys"
    registry.upkeep.backup(backup, passphrase=None, unencrypted=True, keys_only=True)
    vault, pulled = registry.settings.home.vault, tmp_path / "pulled"
    dvc(vault, "remote", "add", "-d", "away", str(tmp_path / "remote"))
    dvc(vault, "push", "-q")
    shutil.copytree(vault, pulled, ignore=shutil.ignore_patterns("cache", "tmp"))
    dvc(pulled, "pull", "-q")
    restore_registry(pulled, tmp_path / "back", keys=backup, passphrase=lambda: None)
    with open_home(tmp_path / "back") as back:
        assert {d.id: d.state for d in back.drafts.list()} == {
            kept: "kept", gone: "expired", waiting: "draft", again: "expired",
        }  # fmt: skip
        assert back.read(kept) == registry.read(kept)
        assert back.read(waiting) == registry.read(waiting)
        assert back.check_log(blobs=True).ok
        assert back.check_mirror("vault") == ()


def dvc(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"DVC_SITE_CACHE_DIR": str(folder.parent / "site")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

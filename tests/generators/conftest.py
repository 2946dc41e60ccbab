"""Fixtures for adapters: the demo model, a recorder in memory, and replays in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from generators import environment

environment.prepare()

import pytest
import torch

from generators.demo_model import BASE
from registry.core.answers import Receipt
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.disclosures import unseal
from registry.core.generation import Generation, Material
from registry.core.provenance import generation_payload, output_subjects
from registry.factory import create_registry, open_home
from registry.sdk import Registry

REPLAYER = Path(__file__).with_name("replayer.py")
STEPS = 2


@dataclass(eq=False)
class Memory:
    """A recorder that keeps what it is given, and the contents of the vaulted materials."""

    generations: list[Generation] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    handed: list[int] = field(default_factory=list)

    def record(
        self,
        generation: Generation,
        *,
        blobs: Iterable[bytes | Path] = (),
        project: str | None = None,
        actor: str | None = None,
    ) -> Receipt:
        given = [blob if isinstance(blob, bytes) else blob.read_bytes() for blob in blobs]
        self.contents |= {sha256_hex(data): data for data in given}
        self.handed.append(len(given))
        self.generations.append(generation)
        assets = tuple(asset_id(sha256_hex(output.data)) for output in generation.outputs)
        number = len(self.generations)
        return Receipt(record_id(f"{number:064x}"), number - 1, "2026-11-20T11:07:00.000Z", assets)

    @property
    def last(self) -> Generation:
        return self.generations[-1]


def statement_of(generation: Generation) -> dict[str, Any]:
    """Seal a generation as the registry does, and open it again with all disclosures."""
    sealed = generation_payload(
        generation,
        output_subjects(generation),
        project="brand",
        actor={"pseudonym": "0" * 32, "authn": "key"},
        invocation_id="01935fd6-5d00-7000-8000-000000000000",
        salts=lambda: os.urandom(16),
    )
    return unseal(json.loads(sealed.payload), sealed.disclosures)


def lay_out(memory: Memory, generation: Generation, folder: Path) -> dict[str, Path]:
    """Write a generation's materials as files, nameless like those of a content store."""
    return {
        material.name: _lay_out_one(memory, material, folder / str(number))
        for number, material in enumerate(generation.materials)
    }


def _lay_out_one(memory: Memory, material: Material, place: Path) -> Path:
    place.mkdir(parents=True)
    if not material.files:
        (place / "content").write_bytes(memory.contents[material.sha256])
        return place / "content"
    for file in material.files:
        target = place / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(memory.contents[file.sha256])
    return place


def job(
    memory: Memory,
    generation: Generation,
    folder: Path,
    overrides: dict[str, Any] | None = None,
) -> SimpleNamespace:
    """Return a replay job whose materials are laid out below `folder`."""
    workdir = folder / "work"
    workdir.mkdir(parents=True)
    return SimpleNamespace(
        statement=statement_of(generation),
        materials=lay_out(memory, generation, folder / "materials"),
        overrides=overrides or {},
        workdir=workdir,
    )


def replay_afresh(jobs: list[SimpleNamespace], folder: Path) -> list[list[str]]:
    """Replay jobs in a process of their own; return the SHA-256 of each output."""
    request = [
        {**vars(one), "materials": {n: str(p) for n, p in one.materials.items()}} for one in jobs
    ]
    file = folder / "jobs.json"
    file.write_text(json.dumps(request, default=str))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(REPLAYER), str(file)],
        capture_output=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo model: tests may not write into the shipped one."""
    return shutil.copytree(BASE, tmp_path_factory.mktemp("model") / "base")


@pytest.fixture
def load(base: Path) -> Callable[..., Any]:
    """Load a fresh pipeline of the demo model, of any class that fits it."""

    def loader(kind: str = "StableDiffusionPipeline", folder: Path = base, **options: Any) -> Any:
        import diffusers

        options.setdefault("dtype", torch.float32)
        pipe = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return loader


@pytest.fixture
def pipe(load: Callable[..., Any]) -> Any:
    return load()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh registry's folder, to copy: making its keys and tables takes longer."""
    folder = tmp_path_factory.mktemp("blank") / "home"
    create_registry(folder, name="test", project="brand").close()
    return folder


@pytest.fixture
def copied(home: Path, blank: Path) -> Iterator[Registry]:
    """A fresh registry, all of them of one name and with the same keys."""
    shutil.copytree(blank, home)
    with open_home(home) as opened:
        yield opened

"""The model files that a workflow names, by digest, where they can be read.

Reads the models folders that the caller names, and nothing outside them. Knows no server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from generators.comfyui.workflow import TEXTS, Node, Workflow
from generators.files import DIGESTS, VAULT_LIMIT_BYTES
from registry.core.generation import Material, Sealed
from registry.errors import InputError

MAX_MATERIALS = 200
"""Most model files of one workflow: a record holds 256 materials in all."""
LOADED = {
    "ckpt_name": ("model", ("checkpoints",)),
    "unet_name": ("model", ("diffusion_models", "unet")),
    "clip_name": ("model", ("text_encoders", "clip", "clip_vision")),
    "vae_name": ("vae", ("vae", "vae_approx")),
    "lora_name": ("lora", ("loras",)),
    "control_net_name": ("controlnet", ("controlnet", "t2i_adapter")),
    "style_model_name": ("model", ("style_models",)),
    "hypernetwork_name": ("model", ("hypernetworks",)),
    "gligen_name": ("model", ("gligen",)),
    "photomaker_model_name": ("model", ("photomaker",)),
    "model_name": ("model", ("upscale_models", "diffusion_models", "checkpoints")),
}
"""Inputs that name a file: the kind of material, and the folders in which ComfyUI looks."""
_NUMBERED = re.compile(r"(.*_name)_?\d{1,2}")
_SUFFIXES = (
    ".safetensors",
    ".sft",
    ".ckpt",
    ".pt",
    ".pt2",
    ".pth",
    ".bin",
    ".gguf",
    ".onnx",
    ".pkl",
)
_EMBEDDING = re.compile(r"embedding:([^\s,():;]+)")
_EMBEDDING_SUFFIXES = ("", ".safetensors", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class Named:
    """A file that an input names, and how strongly it counts where that is said."""

    node: str
    input: str
    kind: str
    folders: tuple[str, ...]
    file: str
    scales: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Return `node.input`."""
        return f"{self.node}.{self.input}"


@dataclass(slots=True)
class Models:
    """What was read of a workflow's models, and what was not.

    `refs` names materials by node and input, `by_node` by node alone. `unread` lists inputs.
    """

    materials: list[Material] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    by_node: dict[str, list[str]] = field(default_factory=dict)
    loras: list[dict[str, Any]] = field(default_factory=list)
    controls: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def add(self, node: str, name: str, material: Material) -> None:
        """Take a material that an input of a node stands for."""
        self.materials.append(material)
        self.refs.setdefault((node, name), material.name)
        self.by_node.setdefault(node, []).append(material.name)


def read_models(workflow: Workflow, roots: Sequence[Path]) -> Models:
    """Find and digest every model file that a workflow names.

    Raises InputError (`comfyui.models`) for a root that is no folder, `comfyui.workflow` for names
    that lead out of a models folder, MaterialError for a file that cannot be read.
    """
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"{root} is no folder of models",
                code="comfyui.models",
                hint="give ComfyUI's folder `models`, with `checkpoints` and the others in it",
            )
    named = [one for node in workflow.nodes.values() for one in _named(workflow, node)]
    if len(named) > MAX_MATERIALS:
        raise InputError(
            f"the workflow names {len(named)} model files, more than {MAX_MATERIALS}",
            code="comfyui.workflow",
        )
    found = Models()
    for number, one in enumerate(named):
        _take(found, one, _find(roots, one), number)
    return found


def _take(found: Models, one: Named, path: Path | None, number: int) -> None:
    name = f"{one.kind}/{one.node}"
    if name in found.by_node.get(one.node, ()):
        name = f"{name}/{number}"
    if path is None:
        found.unread.append(one.place)
    else:
        file = DIGESTS.describe(path, path.name)
        small = file.size <= VAULT_LIMIT_BYTES
        material = Material(
            name=name,
            kind=one.kind,
            sha256=file.sha256,
            storage="vaulted" if small else "referenced",
            annotations={"path": Sealed(str(path.absolute())), "input": one.place},
        )
        found.add(one.node, one.input, material)
        found.paths += [path] if small else []
    strength: dict[str, Any] = {"ref": name if path is not None else None, "input": one.place}
    if one.kind == "lora":
        found.loras.append(strength | one.scales)
    elif one.kind == "controlnet":
        found.controls.append(strength | one.scales)


def _named(workflow: Workflow, node: Node) -> Iterator[Named]:
    for name, value in node.inputs.items():
        if isinstance(value, dict):
            yield from _listed_lora(node, name, value)
        if not isinstance(value, str) or not value:
            continue
        kind, folders = LOADED.get(_base(name), ("model", ()))
        if folders or value.lower().endswith(_SUFFIXES):
            yield Named(node.id, name, kind, folders, value, _scales(workflow, node, kind))
        if name in TEXTS:
            for match in dict.fromkeys(_EMBEDDING.findall(value)):
                yield Named(node.id, name, "embedding", ("embeddings",), match)


def _base(name: str) -> str:
    """Return `clip_name` for `clip_name2`, as loaders of several files number them."""
    match = _NUMBERED.fullmatch(name)
    return name if match is None else match.group(1)


def _listed_lora(node: Node, name: str, value: dict[str, Any]) -> Iterator[Named]:
    """Yield the LoRA of one row of a loader that lists several, if it is switched on."""
    file, strength = value.get("lora"), value.get("strength")
    if isinstance(file, str) and file and file != "None" and value.get("on", True):
        yield Named(node.id, name, "lora", ("loras",), file, _numbers({"scale": strength}))


def _scales(workflow: Workflow, node: Node, kind: str) -> dict[str, float]:
    """Return how strongly a LoRA or ControlNet counts, where numbers say so."""
    if kind == "lora":
        pairs = {"scale": "strength_model", "scale_clip": "strength_clip"}
        return _numbers({name: node.inputs.get(key) for name, key in pairs.items()})
    if kind != "controlnet":
        return {}
    used = [user.inputs.get("strength") for user in workflow.users(node.id, "control_net")]
    return _numbers({"scale": used[0]}) if len(used) == 1 else {}


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _find(roots: Sequence[Path], one: Named) -> Path | None:
    """Return the file that ComfyUI would load by this name, None where it is not below a root."""
    inner = PurePosixPath(one.file.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0] or "\0" in one.file:
        raise InputError(
            f"the workflow cannot be used: {one.place} names a file outside the models",
            code="comfyui.workflow",
        )
    suffixes = _EMBEDDING_SUFFIXES if one.kind == "embedding" else ("",)
    for root in roots:
        folders = one.folders or tuple(sorted(p.name for p in root.iterdir() if p.is_dir()))
        for folder in folders:
            for suffix in suffixes:
                path = root / folder / f"{inner}{suffix}"
                if path.is_file():
                    return path
    return None

"""IP-adapters: which files gave a UNet its eyes, how strong they are, and what came with them.

Where the files were is kept by the UNet, so that pipelines which share it share the knowledge.
Whether it still is what they gave is seen by comparing with a fresh UNet.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers.loaders import IPAdapterMixin
from torch.nn import Module

from generators.capture import loras, origins
from generators.capture.additions import Addition, Additions
from generators.files import DIGESTS, file_material
from registry.errors import MaterialError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generators.capture.modules import Walk

MATERIAL = "model/ip-adapter"
EXTRACTOR = "feature_extractor"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The adapters of one UNet, as they were loaded together; no `files` if some are unknown.

    `files` are (path, hex SHA-256); `layer` what the UNet has of them; `extractor` the processor
    of pictures that the loader made, of side `side`, where the pipeline had none.
    """

    files: tuple[tuple[Path, str], ...]
    layer: weakref.ref[Any]
    extractor: weakref.ref[Any] | None
    side: int


_SOURCES: weakref.WeakKeyDictionary[Module, Loaded] = weakref.WeakKeyDictionary()


class _Loader(IPAdapterMixin):  # type: ignore[misc]
    """Diffusers' loader without a pipeline around it."""

    def __init__(self, unet: Module) -> None:
        self.unet = unet


def put(unet: Module, files: Sequence[Path]) -> None:
    """Load adapters from safetensors files into a UNet, as one call of the loader does."""
    names = ["adapter.safetensors"] * len(files)  # decides the format; the paths are files
    _Loader(unet).load_ip_adapter(
        [str(file) for file in files],
        subfolder=[""] * len(files),
        weight_name=names,
        image_encoder_folder=None,
        local_files_only=True,
    )
    _settle(unet)


def make_extractor(side: int) -> Any:
    """Make the processor of pictures that the loader makes where a pipeline has none."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size=side, crop_size=side)


def load(pipe: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Call a pipeline's `load_ip_adapter` and remember what it loaded from where."""
    loader = pipe.load_ip_adapter
    if not (isinstance(pipe, IPAdapterMixin) and isinstance(getattr(pipe, "unet", None), Module)):
        return loader(*args, **options)
    bound = inspect.signature(loader).bind(*args, **options)
    bound.apply_defaults()
    given = bound.arguments
    encoder, extractor = (getattr(pipe, name, None) for name in ("image_encoder", EXTRACTOR))
    result = loader(*args, **options)
    _settle(pipe.unet)
    if encoder is None and pipe.image_encoder is not None:
        origins.remember(pipe.image_encoder, _encoder_folder(given))
    made = pipe.feature_extractor if extractor is None else None
    _SOURCES[pipe.unet] = Loaded(
        files=tuple((path, DIGESTS.describe(path, path.name).sha256) for path in _files(given)),
        layer=weakref.ref(pipe.unet.encoder_hid_proj),
        extractor=None if made is None else weakref.ref(made),
        side=0 if made is None else _side(pipe.image_encoder),
    )
    return result


def _settle(unet: Any) -> None:
    """Let new layers be in the mode of the UNet: loaders leave them in training mode."""
    processors = (one for one in unet.attn_processors.values() if isinstance(one, Module))
    for module in (unet.encoder_hid_proj, *processors):
        module.train(unet.training)


def _side(encoder: Any) -> int:
    return 224 if encoder is None else int(encoder.config.image_size)  # as the loader has it


def _sources(given: Mapping[str, Any]) -> list[tuple[Any, str, str]]:
    """Return (source, subfolder, file name) of each adapter, spread out as the loader does."""
    named = ("pretrained_model_name_or_path_or_dict", "subfolder", "weight_name")
    lists = [one if isinstance(one, list) else [one] for one in (given[name] for name in named)]
    count = len(lists[2])
    return list(zip(*(one * count if len(one) == 1 else one for one in lists), strict=True))


def _files(given: Mapping[str, Any]) -> list[Path]:
    """Return the safetensors files behind a call of the loader; none if one is not known."""
    found = []
    for source, subfolder, name in _sources(given):
        options = {**given["kwargs"], "subfolder": subfolder, "weight_name": name}
        path = loras.resolve(source, options)
        if path is None or path.suffix != ".safetensors" or not path.is_file():
            return []
        found.append(path)
    return found


def _encoder_folder(given: Mapping[str, Any]) -> Path | None:
    """Return the local folder that the loader took the image encoder from."""
    source, subfolder, _ = _sources(given)[0]
    inside: str = given["image_encoder_folder"]
    if not isinstance(source, (str, Path)):
        return None
    folder = Path(source, inside) if "/" in inside else Path(source, subfolder, inside)
    return folder.absolute() if folder.is_dir() else None


def made(components: Mapping[str, Any]) -> dict[str, int]:
    """Return the processor that a loader made, if it is there, by its name, with its side."""
    extractor = components.get(EXTRACTOR)
    for component in components.values():
        loaded = _SOURCES.get(component) if isinstance(component, Module) else None
        if loaded is None or loaded.extractor is None or extractor is None:
            continue
        if loaded.extractor() is extractor:
            return {EXTRACTOR: loaded.side}
    return {}


def describe(components: Mapping[str, Any], walks: Mapping[str, Walk]) -> Additions:
    """Describe the adapters that the components hold, and how to load them again."""
    described = Additions()
    for name, component in components.items():
        loaded = _SOURCES.get(component) if isinstance(component, Module) else None
        layer = getattr(component, "encoder_hid_proj", None)
        if loaded is None or layer is None or loaded.layer() is not layer:
            continue
        if not loaded.files:
            described.reasons.append(f"IP-adapter of {name} was not loaded from a known file")
        elif _entries(name, loaded, walks[name], described):
            files = [path for path, _ in loaded.files]
            digests = [sha256 for _, sha256 in loaded.files]
            described.by_component[name] = Addition.of(digests, partial(put, files=files))
    for extractor, side in made(components).items():
        described.entries.setdefault("made", []).append({"component": extractor, "side": side})
    return described


def _entries(name: str, loaded: Loaded, walked: Walk, described: Additions) -> bool:
    """Add adapters to the record; tell whether they can be loaded again."""
    sound = True
    for number, (path, sha256) in enumerate(loaded.files):
        material = MATERIAL if len(loaded.files) == 1 else f"{MATERIAL}-{number}"
        entry = {"ref": material, "component": name, **_strength(walked, number)}
        described.entries.setdefault("ip_adapters", []).append(entry)
        try:
            content = file_material(material, "model", path)
        except MaterialError as error:
            described.reasons.append(error.message)
            sound = False
            continue
        described.contents.append(content)
        if content.material.sha256 != sha256:
            described.reasons.append(f"the file of {material} was changed after loading")
            sound = False
    return sound


def _strength(walked: Walk, number: int) -> dict[str, Any]:
    """Return the scale of an adapter as one number where it is one, else by layer.

    For the reader: a replay sets scales that are not 1 from the settings of the component.
    """
    found = {p: getattr(m, "scale", None) for p, m in walked if p.endswith(".processor")}
    scales = {path: scale[number] for path, scale in found.items() if isinstance(scale, list)}
    different = {str(scale): scale for scale in scales.values()}
    if len(different) == 1:
        return {"scale": next(iter(different.values()))}
    return {"scales": scales}

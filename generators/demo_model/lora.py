"""Train a style LoRA: `python -m generators.demo_model.lora --style brand --out FILE`.

The base model stays frozen; the result is a fp16 file that `load_lora_weights` reads. The fitting
serves any model of Stable Diffusion's make: `generators.train_lora` records it as a generation.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from generators import environment
from generators.demo_model import BASE, STYLES, lora_file, scenes, training
from generators.demo_model.params import LoraParams, load_lora

if TYPE_CHECKING:
    import torch

TARGETS = (
    "conv1",
    "conv2",
    "conv_in",
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
    "to_k",
    "to_out.0",
    "to_q",
    "to_v",
)


class Schooling(Protocol):
    """What decides how a LoRA is fitted, beside what it is fitted to. `rate` is the peak's."""

    @property
    def steps(self) -> int: ...  # noqa: D102

    @property
    def rate(self) -> float: ...  # noqa: D102

    @property
    def caption_dropout(self) -> float: ...  # noqa: D102


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    environment.prepare()
    params = load_lora(options.params, options.style)
    train(options.style, params, options.base, options.out or lora_file(options.style))


def train(style: Literal["brand", "noir"], params: LoraParams, base: Path, out: Path) -> None:
    """Teach the model in folder `base` a style and write the adapter to `out`.

    Sets the process's torch determinism.
    """
    import torch
    from diffusers import StableDiffusionPipeline

    training.deterministic_runtime(params.seed)
    pipe = StableDiffusionPipeline.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False)
    latents, prompts, blank = _lessons(pipe, style, params)
    config = adapter_config(params.rank, TARGETS)
    pipe.unet.add_adapter(config, adapter_name=style)
    random_source = torch.Generator().manual_seed(params.seed)
    noising = training.Noising(latents, pipe.scheduler, params.batch, random_source)
    fit(pipe.unet, noising, (prompts, blank), params, training.Progress("lora").report)
    save(pipe.unet, config, style, out)


def adapter_config(rank: int, targets: Sequence[str]) -> Any:
    """Return peft's configuration of a LoRA on the layers whose names end in `targets`."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        lora_dropout=0.0,  # peft keeps dropout live at inference
        target_modules=list(targets),
    )


def _lessons(
    pipe: Any, style: Literal["brand", "noir"], params: LoraParams
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scaled latents of styled scenes, their prompts' embeddings, and the empty one's."""
    import torch

    rng = random.Random(params.seed)  # noqa: S311 (data, not secrets)
    drawn = [scenes.sample(rng) for _ in range(params.scenes)]
    pixels = training.pictures_to_bytes(scenes.render(s, params.side, style) for s in drawn)
    latents = training.latents_of(pipe.vae, pixels) * pipe.vae.config.scaling_factor
    with torch.no_grad():
        ids = training.token_ids(pipe.tokenizer, [scene.caption for scene in drawn])
        prompts = pipe.text_encoder(ids)[0]
        blank = pipe.text_encoder(training.token_ids(pipe.tokenizer, [""]))[0][0]
    return latents, prompts, blank


def fit(
    denoiser: Any,
    noising: training.Noising,
    embeddings: tuple[torch.Tensor, torch.Tensor],
    schooling: Schooling,
    report: Callable[[float], None],
) -> None:
    """Train what is not frozen of `denoiser`; `report` is told the loss of each step.

    `embeddings` are those of each latent's prompt (n, tokens, width) and of the empty one.
    """
    import torch

    prompts, blank = embeddings
    weights = [weight for weight in denoiser.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, schooling.rate, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schooling.rate, total_steps=schooling.steps, pct_start=0.1
    )
    denoiser.to(memory_format=torch.channels_last)
    for _ in range(schooling.steps):
        index, noised, times, target = noising.draw()
        prompt = prompts[index].clone()
        prompt[noising.dropped(schooling.caption_dropout)] = blank
        answer = denoiser(noised, times, prompt).sample
        loss = torch.nn.functional.mse_loss(answer, target)
        training.step(loss, weights, optimizer, schedule)
        report(loss.item())


def save(denoiser: Any, config: Any, name: str, out: Path) -> None:
    """Write the adapter `name` of a denoiser in half precision, the same bytes each time."""
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    adapter = get_peft_model_state_dict(denoiser, adapter_name=name)
    # In peft's own names: diffusers' converter renames the attention layers alone, and its loader
    # then silently leaves them out beside the others.
    halves = {name: tensor.contiguous().half() for name, tensor in adapter.items()}
    # The order of a set differs from run to run; sorted, the file's bytes do not.
    metadata = config.to_dict() | {"target_modules": sorted(config.target_modules)}
    StableDiffusionPipeline.save_lora_weights(
        out.parent,
        unet_lora_layers=halves,
        weight_name=out.name,
        unet_lora_adapter_metadata=metadata,
    )
    sort_header(out)


def sort_header(file: Path) -> None:
    """Put the metadata of a safetensors file in order: the library writes it in a random one.

    Layout: eight bytes of length (little endian), JSON padded with spaces to eight, the tensors.
    """
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


if __name__ == "__main__":
    main()

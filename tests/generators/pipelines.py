"""Tiny pipelines of every kind, made from seeds and saved to folders; no hub, no trained weights.

    folder = save("flux", tmp_path / "flux")
    pipe = load("flux", folder)
    picture = pipe(**arguments("flux"), generator=...).images[0]

Each is 64 pixels wide, below a million parameters, and takes 0.05 to 0.3 s a picture on one core.
What they make is noise with structure: it depends on every weight, prompt, input and LoRA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

SIDE = 64
STEPS = 2
PROMPT = "a red mug on a blue table"
OTHER = "a green lamp on a white shelf"
SPECIAL = "<brand>"
"""The token that `embedding_file` teaches."""
TOKENS = 40
WIDTH = 32
LATENTS = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of pipeline: its class, how to build the parts, and what a call takes.

    `layers` names the component that a LoRA of this kind adapts, None where it takes none.
    """

    pipeline: str
    parts: Callable[[], dict[str, Any]]
    call: Callable[[], dict[str, Any]]
    layers: str | None = None


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Make a pipeline from its seed, save it, and return the folder."""
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = KINDS[kind].parts()
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    getattr(diffusers, KINDS[kind].pipeline)(**parts).save_pretrained(folder)
    return folder


def load(kind: str, folder: Path, **options: Any) -> Any:
    """Load a saved pipeline as a user does, in fp32 unless said."""
    import diffusers

    options.setdefault("dtype", torch.float32)
    cls = getattr(diffusers, KINDS[kind].pipeline)
    pipe = cls.from_pretrained(folder, local_files_only=True, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def arguments(kind: str, **options: Any) -> dict[str, Any]:
    """Return the arguments of a call, without generator or seed; `options` come over them."""
    return {"prompt": PROMPT, "num_inference_steps": STEPS} | KINDS[kind].call() | options


def batched(kind: str, **options: Any) -> dict[str, Any]:
    """Return the arguments of a call for two prompts, with as many inputs where it takes some."""
    one = arguments(kind)
    doubled = {
        name: [value, value.transpose(Image.Transpose.ROTATE_90)]
        for name, value in one.items()
        if isinstance(value, Image.Image)
    }
    return one | doubled | {"prompt": [PROMPT, OTHER]} | options


def picture(seed: int = 1, side: int = SIDE) -> Image.Image:
    """Return a picture with coarse and fine structure."""
    source = torch.Generator().manual_seed(seed)
    canvas = torch.zeros(3, side, side)
    for cells in (2, 8):
        grid = torch.rand(1, 3, cells, cells, generator=source)
        canvas += torch.nn.functional.interpolate(grid, size=(side, side))[0] / 2
    pixels = (canvas.permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    return Image.fromarray(pixels)


def mask(side: int = SIDE) -> Image.Image:
    """Return a mask that paints the middle."""
    made = Image.new("L", (side, side), 0)
    made.paste(255, (side // 4, side // 4, side * 3 // 4, side * 3 // 4))
    return made


def lora_file(kind: str, pipe: Any, file: Path, seed: int = 1, rank: int = 2) -> Path:
    """Write a LoRA that visibly changes what `pipe` makes, in the pipeline's own format.

    The pipeline is left as it was.
    """
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    layers = KINDS[kind].layers
    assert layers is not None, f"{kind} takes no LoRAs"
    module = getattr(pipe, layers)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["to_q", "to_k", "to_v"])
    module.add_adapter(config, adapter_name="made")
    source = torch.Generator().manual_seed(seed)
    tensors = {
        name: (torch.randn(tensor.shape, generator=source) * 0.5).contiguous()
        for name, tensor in get_peft_model_state_dict(module, adapter_name="made").items()
    }
    module.delete_adapters("made")
    type(pipe).save_lora_weights(
        file.parent,
        **{f"{layers}_lora_layers": convert_state_dict_to_diffusers(tensors)},
        weight_name=file.name,
    )
    return file


def embedding_file(file: Path, seed: int = 1) -> Path:
    """Write a textual inversion of two vectors for `SPECIAL`, for the kinds of Stable Diffusion."""
    from safetensors.torch import save_file

    source = torch.Generator().manual_seed(seed)
    save_file({SPECIAL: torch.randn(2, WIDTH, generator=source)}, file)
    return file


def ip_adapter_file(pipe: Any, file: Path, seed: int = 1) -> Path:
    """Write an IP-adapter for a pipeline of kind `ip-adapter`; it needs `load_ip_adapter`."""
    from safetensors.torch import save_file

    source = torch.Generator().manual_seed(seed)
    tokens = 4  # what the loader takes for granted
    shapes = {
        "image_proj.proj.weight": (tokens * WIDTH, WIDTH),
        "image_proj.proj.bias": (tokens * WIDTH,),
        "image_proj.norm.weight": (WIDTH,),
        "image_proj.norm.bias": (WIDTH,),
    }
    crossing = [name for name in pipe.unet.attn_processors if "attn2" in name]
    number = 1
    for name in crossing:
        layer = pipe.unet.get_submodule(name.removesuffix(".processor"))
        for half in ("k", "v"):
            shapes[f"ip_adapter.{number}.to_{half}_ip.weight"] = (layer.inner_dim, WIDTH)
        number += 2  # every second processor attends to the picture
    save_file({n: torch.randn(s, generator=source) for n, s in shapes.items()}, file)
    return file


def _clip_tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    signs = sorted(ByteLevel.alphabet())
    order = [*signs, *(sign + "</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(order)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)


def _clip_text(words: Any, *, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(place: int, width: int) -> dict[str, Any]:
    """A T5 encoder and a tokenizer that knows the words of the prompts, for a numbered place."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    known = ["<pad>", "</s>", "<unk>", *sorted({*PROMPT.split(), *OTHER.split()})]
    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(known)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    config = T5Config(
        vocab_size=len(known), d_model=width, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
    )
    return {f"tokenizer_{place}": tokenizer, f"text_encoder_{place}": T5EncoderModel(config)}


def _vae(**options: Any) -> Any:
    """Build an autoencoder: side → side / 4."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=4,
        sample_size=SIDE,
        **options,
    )


def _unet(channels: int = LATENTS, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    options.setdefault("cross_attention_dim", WIDTH)
    return UNet2DConditionModel(
        sample_size=SIDE // 4,
        in_channels=channels,
        out_channels=LATENTS,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **options,
    )


def _ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)


def _sd(**changed: Any) -> dict[str, Any]:
    words = _clip_tokenizer()
    return {
        "tokenizer": words,
        "text_encoder": _clip_text(words),
        "vae": _vae(),
        "unet": _unet(),
        "scheduler": _ddim(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    } | changed


def _controlnet() -> dict[str, Any]:
    from diffusers import ControlNetModel

    parts = _sd()
    net = ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(8, 8, 16))
    # Fresh ones are zero, and a control picture would change nothing; much larger, nothing else.
    for block in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
        torch.nn.init.normal_(block.weight, std=0.1)
    embedding = net.controlnet_cond_embedding
    for layer in [embedding.conv_in, *embedding.blocks, embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.3)
    return parts | {"controlnet": net}


def _upscale() -> dict[str, Any]:
    from diffusers import DDPMScheduler

    unet = _unet(LATENTS + 3, num_class_embeds=1000)
    vae = _vae(scaling_factor=0.08333)  # any other is set to this by the pipeline
    parts = _sd(unet=unet, vae=vae, low_res_scheduler=DDPMScheduler(beta_schedule="scaled_linear"))
    unwanted = ("safety_checker", "feature_extractor", "requires_safety_checker")
    return {name: part for name, part in parts.items() if name not in unwanted}


def _ip_adapter() -> dict[str, Any]:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return _sd(
        image_encoder=CLIPVisionModelWithProjection(config),
        feature_extractor=CLIPImageProcessor(**sizes),
    )


def _sdxl() -> dict[str, Any]:
    words = _clip_tokenizer()
    time_width = 8
    return {
        "tokenizer": words,
        "tokenizer_2": _clip_tokenizer(),
        "text_encoder": _clip_text(words),
        "text_encoder_2": _clip_text(words, projected=True),
        "vae": _vae(force_upcast=False),
        "unet": _unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=time_width,
            projection_class_embeddings_input_dim=6 * time_width + WIDTH,
        ),
        "scheduler": _ddim(),
    }


def _flow_vae() -> Any:
    return _vae(
        shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False
    )


def _flux() -> dict[str, Any]:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    words = _clip_tokenizer()
    return {
        "tokenizer": words,
        "text_encoder": _clip_text(words),
        **_t5(2, WIDTH),
        "vae": _flow_vae(),
        "transformer": FluxTransformer2DModel(
            patch_size=1,
            in_channels=4 * LATENTS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }


def _sd3() -> dict[str, Any]:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    words = _clip_tokenizer()
    return {
        "tokenizer": words,
        "tokenizer_2": _clip_tokenizer(),
        "text_encoder": _clip_text(words, projected=True),
        "text_encoder_2": _clip_text(words, projected=True),
        **_t5(3, 2 * WIDTH),
        "vae": _flow_vae(),
        "transformer": SD3Transformer2DModel(
            sample_size=SIDE // 4,
            patch_size=2,
            in_channels=LATENTS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
            out_channels=LATENTS,
            pos_embed_max_size=SIDE // 4,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def _sized() -> dict[str, Any]:
    return {"height": SIDE, "width": SIDE}


def _from_picture() -> dict[str, Any]:
    return {"image": picture(), "strength": 0.9, "num_inference_steps": STEPS + 1}


def _from_picture_and_mask() -> dict[str, Any]:
    return _sized() | _from_picture() | {"mask_image": mask()}


KINDS: dict[str, Kind] = {
    "txt2img": Kind("StableDiffusionPipeline", _sd, _sized, "unet"),
    "img2img": Kind("StableDiffusionImg2ImgPipeline", _sd, _from_picture, "unet"),
    "inpaint": Kind("StableDiffusionInpaintPipeline", _sd, _from_picture_and_mask, "unet"),
    "inpaint-9": Kind(
        "StableDiffusionInpaintPipeline",
        lambda: _sd(unet=_unet(2 * LATENTS + 1)),
        _from_picture_and_mask,
        "unet",
    ),
    "controlnet": Kind(
        "StableDiffusionControlNetPipeline",
        _controlnet,
        lambda: _sized() | {"image": picture()},
        "unet",
    ),
    "upscale": Kind(
        "StableDiffusionUpscalePipeline",
        _upscale,
        lambda: {"image": picture(side=SIDE // 4)},
        "unet",
    ),
    "ip-adapter": Kind(
        "StableDiffusionPipeline",
        _ip_adapter,
        lambda: _sized() | {"ip_adapter_image": picture()},
        "unet",
    ),
    "sdxl": Kind("StableDiffusionXLPipeline", _sdxl, _sized, "unet"),
    "flux": Kind(
        "FluxPipeline", _flux, lambda: _sized() | {"max_sequence_length": 8}, "transformer"
    ),
    "sd3": Kind(
        "StableDiffusion3Pipeline",
        _sd3,
        lambda: _sized() | {"max_sequence_length": 8},
        "transformer",
    ),
}
"""Every kind by name. `ip-adapter` needs `load_ip_adapter` before its first call."""

"""The parts of the demo model, untrained: tokenizer, text encoder, autoencoder, UNet, scheduler.

Builds from parameters; knows nothing of data loading or training loops.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from generators.demo_model.params import BaseParams

# CLIP's own split into words, digits and signs, so that CLIPTokenizer reads the result.
_CLIP_SPLIT = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_WORD_END = "</w>"


def tokenizer(corpus: Iterable[str], params: BaseParams) -> Any:
    """Learn a byte-level BPE in CLIP's layout from `corpus` and return a `CLIPTokenizer`."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    model = _byte_pairs(corpus, params.vocabulary)
    alphabet = sorted(ByteLevel.alphabet())
    learnt = sorted(model["vocab"], key=model["vocab"].__getitem__)
    order = dict.fromkeys([*alphabet, *(sign + _WORD_END for sign in alphabet), *learnt])
    vocabulary = {token: index for index, token in enumerate(order)}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=params.tokens)


def _byte_pairs(corpus: Iterable[str], size: int) -> dict[str, Any]:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END, continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix=_WORD_END,
        show_progress=False,
        special_tokens=[],
    )
    bpe.train_from_iterator(corpus, trainer)
    model: dict[str, Any] = json.loads(bpe.to_str())["model"]
    return model


def text_encoder(words: Any, params: BaseParams) -> Any:
    """Build a two-layer CLIP text model for the tokenizer `words`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    width = params.text_width
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=3 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=params.tokens,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.eos_token_id,
        )
    )


def autoencoder(params: BaseParams) -> Any:
    """Build the image autoencoder: side → side / 2^(levels - 1), four latent channels."""
    import torch
    from diffusers import AutoencoderKL

    levels = len(params.vae_channels)
    model = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=params.vae_channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=params.side,
        mid_block_add_attention=False,
    )
    return model.to(memory_format=torch.channels_last)


def unet(params: BaseParams) -> Any:
    """Build the denoiser; every level but the finest attends to the prompt."""
    import torch
    from diffusers import UNet2DConditionModel

    attending = len(params.unet_channels) - 1
    model = UNet2DConditionModel(
        sample_size=params.side // 2 ** (len(params.vae_channels) - 1),
        layers_per_block=1,
        block_out_channels=params.unet_channels,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
        cross_attention_dim=params.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return model.to(memory_format=torch.channels_last)


def scheduler() -> Any:
    """DDIM with v-prediction and zero terminal SNR, so that night scenes can be dark."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def pipeline(words: Any, text: Any, vae: Any, denoiser: Any) -> Any:
    """Put the parts together, in evaluation mode."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text.eval(),
        tokenizer=words,
        unet=denoiser.eval(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )

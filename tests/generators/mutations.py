"""Everything that can be done to a pipeline between two calls so that its pictures differ.

Each row says how the change has to show: `says` is a part of a reason, naming the component, where
a replay would miss it; else the record's own description has to differ, and no reason may be given.
"""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from . import pipelines


@dataclass
class Scene:
    """A pipeline about to be changed; `patch` and `stack` undo, `options` go to the next call."""

    pipe: Any
    proxy: Any
    patch: pytest.MonkeyPatch
    stack: ExitStack
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def unet(self) -> Any:
        return self.pipe.unet


@dataclass(frozen=True)
class Mutation:
    """One change: `kind` is the pipeline's, `says` what a reason must hold (None: no reason)."""

    name: str
    change: Callable[[Scene], Any]
    says: str | None
    kind: str = "txt2img"
    lora: bool = False

    @property
    def steps(self) -> int:
        return 2 if self.kind == "img2img" else 1


MUTATIONS: list[Mutation] = []


def mutation(
    says: str | None, *, kind: str = "txt2img", lora: bool = False
) -> Callable[[Callable[[Scene], Any]], Callable[[Scene], Any]]:
    def add(change: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
        MUTATIONS.append(Mutation(change.__name__, change, says, kind, lora))
        return change

    return add


def outside(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function in code that no library brought."""

    def foreign(*args: Any, **options: Any) -> Any:
        return original(*args, **options)

    return foreign


# Weights.


@mutation("weights of unet")
def weight_added_to(at: Scene) -> None:
    with torch.no_grad():
        at.unet.conv_in.weight.add_(1e-4)


@mutation("weights of unet")
def weight_written_without_a_trace(at: Scene) -> None:
    at.unet.conv_in.weight.data.add_(1e-4)


@mutation("weights of unet")
def two_weights_swapped(at: Scene) -> None:
    weight = at.unet.conv_in.weight.data
    weight.copy_(weight.flip(0).contiguous())


@mutation("weights of vae")
def parameter_replaced(at: Scene) -> None:
    weight = at.pipe.vae.decoder.conv_out.weight
    at.pipe.vae.decoder.conv_out.weight = nn.Parameter(weight.detach() * 1.001)


@mutation("weights of text_encoder")
def state_dict_written(at: Scene) -> None:
    at.pipe.text_encoder.state_dict()["final_layer_norm.bias"].add_(0.01)


@mutation("weights of unet")
def cast_there_and_back(at: Scene) -> None:
    at.unet.to(torch.bfloat16).to(torch.float32)


@mutation("weights of unet")
def one_layer_cast_there_and_back(at: Scene) -> None:
    layer = at.unet.time_embedding.linear_1
    layer.to(torch.bfloat16).to(torch.float32)


@mutation(None)
def whole_pipeline_in_bfloat16(at: Scene) -> None:
    at.pipe.to(torch.bfloat16)


@mutation("text_encoder.embeddings.position_ids")
def unsaved_buffer_changed(at: Scene) -> None:
    embeddings = _embeddings(at.pipe.text_encoder)
    embeddings.position_ids.copy_(embeddings.position_ids.flip(1))


@mutation("unet.time_proj")
def tensor_hidden_in_an_attribute(at: Scene) -> None:
    at.unet.time_proj.forward = types.MethodType(
        lambda self, steps: torch.zeros(len(steps), 8), at.unet.time_proj
    )


class Doubling(nn.Parameter):
    """A parameter with the same bits that computes otherwise."""

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, args: Any = (), options: Any = None):
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(options or {}))
            return result * 2 if function is torch.conv2d else result


@mutation("unet.conv_in.weight")
def parameter_of_a_foreign_class(at: Scene) -> None:
    weight = at.unet.conv_in.weight
    at.unet.conv_in.weight = Doubling(weight.detach().clone(), requires_grad=False)


@mutation(None)
def channels_last(at: Scene) -> None:
    at.unet.to(memory_format=torch.channels_last)


# Layers and settings.


@mutation("unet has other layers")
def layer_replaced(at: Scene) -> None:
    at.unet.conv_act = nn.GELU()


@mutation("unet has other layers")
def class_of_a_layer_replaced(at: Scene) -> None:
    at.unet.conv_act.__class__ = nn.Tanh


@mutation("outside the recorded libraries")
def class_of_the_model_replaced(at: Scene) -> None:
    class Other(type(at.unet)):  # type: ignore[misc]
        def forward(self, *args: Any, **options: Any) -> Any:
            return super().forward(*args, **options)

    at.unet.__class__ = Other


@mutation("outside the recorded libraries")
def class_of_the_pipeline_replaced(at: Scene) -> None:
    class Other(type(at.pipe)):  # type: ignore[misc]
        def encode_prompt(self, *args: Any, **options: Any) -> Any:
            return super().encode_prompt(*args, **options)

    at.pipe.__class__ = Other


@mutation("outside the recorded libraries")
def layer_of_a_foreign_class(at: Scene) -> None:
    class Mine(nn.SiLU):
        pass

    at.unet.conv_act = Mine()


@mutation(None)
def number_in_a_layer(at: Scene) -> None:
    at.unet.conv_norm_out.eps = 1e-3


@mutation(None)
def list_in_a_layer_changed_in_place(at: Scene) -> None:
    at.unet.mid_block.notes = [1.0]
    at.proxy(**pipelines.arguments("txt2img"), seed=1)
    at.unet.mid_block.notes[0] = 2.0


@mutation("configuration of vae")
def configuration_of_a_component(at: Scene) -> None:
    at.pipe.vae.register_to_config(scaling_factor=0.5)


@mutation("configuration of text_encoder")
def configuration_of_the_text_encoder(at: Scene) -> None:
    at.pipe.text_encoder.config.eos_token_id = 3


@mutation(None)
def vae_tiling(at: Scene) -> None:
    at.pipe.vae.enable_tiling()


@mutation(None)
def free_lunch(at: Scene) -> None:
    at.pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)


@mutation(None)
def attention_slicing(at: Scene) -> None:
    at.pipe.enable_attention_slicing(1)


@mutation("unet is in training mode")
def training_mode(at: Scene) -> None:
    at.unet.train()


@mutation("unet has 1 submodules in training mode")
def training_mode_of_a_layer(at: Scene) -> None:
    at.unet.mid_block.resnets[0].dropout.train()


@mutation(None)
def library_attention_processor(at: Scene) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    at.unet.set_attn_processor(AttnProcessor())


@mutation("unet.")
def foreign_attention_processor(at: Scene) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    class Mine(AttnProcessor2_0):
        pass

    at.unet.set_attn_processor(Mine())


@mutation("AttnProcessor2_0.__call__")
def attention_processor_class_patched(at: Scene) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    original = AttnProcessor2_0.__call__
    at.patch.setattr(AttnProcessor2_0, "__call__", lambda *a, **o: original(*a, **o) * 1.01)


@mutation("weights of unet")
def component_from_memory(at: Scene) -> None:
    at.pipe.unet = type(at.unet).from_config(at.unet.config).eval()
    at.pipe.unet.register_to_config(_name_or_path="")


@mutation("weights of unet")
def component_with_the_same_origin(at: Scene) -> None:
    at.pipe.unet = type(at.unet).from_config(at.unet.config).eval()


# Hooks.


@mutation("unet has 1 forward hooks")
def forward_hook(at: Scene) -> None:
    at.unet.register_forward_hook(lambda module, args, output: output)


@mutation("unet has 1 forward hooks")
def forward_hook_on_a_layer(at: Scene) -> None:
    at.unet.mid_block.register_forward_hook(lambda module, args, output: output)


@mutation("text_encoder has 1 forward hooks")
def forward_pre_hook(at: Scene) -> None:
    at.pipe.text_encoder.register_forward_pre_hook(lambda module, args: None)


class Callback:
    def __call__(self, module: Any, args: Any, output: Any = None) -> None:
        return None


@mutation("unet has 1 forward hooks")
def hook_that_is_an_object(at: Scene) -> None:
    at.unet.conv_in.register_forward_hook(Callback())


@mutation("unet has 1 forward hooks")
def hook_that_is_no_python(at: Scene) -> None:
    # A built-in has no code to look at.
    at.unet.conv_in.register_forward_hook(functools.partial(print, file=io.StringIO()))


@mutation("global forward hooks")
def global_hook(at: Scene) -> None:
    handle = nn.modules.module.register_module_forward_pre_hook(Callback())
    at.stack.callback(handle.remove)


@mutation("unet has gradient hooks")
def hook_on_a_parameter(at: Scene) -> None:
    at.unet.conv_in.weight.requires_grad_(True).register_hook(lambda gradient: gradient)


@mutation("unet runs under a foreign hook")
def accelerate_hook(at: Scene) -> None:
    from accelerate.hooks import ModelHook, add_hook_to_module

    class Mine(ModelHook):
        def post_forward(self, module: Any, output: Any) -> Any:
            return output

    add_hook_to_module(at.unet.conv_in, Mine())


@mutation("unet runs under diffusers hooks")
def layerwise_casting(at: Scene) -> None:
    at.unet.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)


# Patches.


@mutation("vae.decoder.forward was replaced")
def forward_shadowed(at: Scene) -> None:
    original = at.pipe.vae.decoder.forward
    at.pipe.vae.decoder.forward = lambda *args: original(*args) * 1.01


@mutation("unet.conv_act.forward was replaced")
def forward_shadowed_by_library_code(at: Scene) -> None:
    act = at.unet.conv_act
    act.forward = types.MethodType(nn.Tanh.forward, act)


@mutation("unet.conv_act.forward was replaced")
def forward_shadowed_by_a_built_in(at: Scene) -> None:
    at.unet.conv_act.forward = torch.tanh


@mutation("vae._decode was replaced")
def private_method_shadowed(at: Scene) -> None:
    original = at.pipe.vae._decode
    at.pipe.vae._decode = outside(original)


@mutation("unet.conv_in._conv_forward was replaced")
def private_method_of_a_layer_shadowed(at: Scene) -> None:
    original = at.unet.conv_in._conv_forward
    at.unet.conv_in._conv_forward = outside(original)


@mutation("pipeline.encode_prompt was replaced")
def pipeline_method_shadowed(at: Scene) -> None:
    original = at.pipe.encode_prompt
    at.pipe.encode_prompt = lambda prompt, *rest, **options: original("", *rest, **options)


@mutation("scheduler.step was replaced")
def scheduler_method_shadowed(at: Scene) -> None:
    at.pipe.scheduler.step = functools.partial(
        at.pipe.scheduler.step, use_clipped_model_output=True
    )


@mutation("Attention.forward was replaced")
def class_patched(at: Scene) -> None:
    from diffusers.models.attention_processor import Attention

    original = Attention.forward
    at.patch.setattr(Attention, "forward", outside(original))


@mutation("SiLU.forward was replaced")
def class_patched_with_a_built_in(at: Scene) -> None:
    at.patch.setattr(nn.SiLU, "forward", torch.tanh)  # a built-in is no method: self is left out


@mutation("SiLU.forward was replaced")
def class_patched_with_library_code(at: Scene) -> None:
    at.patch.setattr(nn.SiLU, "forward", nn.Tanh.forward)


@mutation("ResnetBlock2D.forward was replaced")
def code_of_a_method_replaced(at: Scene) -> None:
    from diffusers.models.resnet import ResnetBlock2D

    def forward(self, input_tensor, temb, *args, **kwargs):  # type: ignore[no-untyped-def]
        return self.conv_shortcut(input_tensor) if self.conv_shortcut else input_tensor

    at.patch.setattr(ResnetBlock2D.forward, "__code__", forward.__code__)


@mutation("Timesteps.forward was replaced")
def wrapped_by_a_library_decorator(at: Scene) -> None:
    from diffusers.models.embeddings import Timesteps

    original = Timesteps.forward
    at.patch.setattr(Timesteps, "forward", torch.no_grad()(lambda *args: original(*args) * 1.01))


@mutation("torch.nn.functional.silu was replaced")
def library_function_replaced(at: Scene) -> None:
    original = nn.functional.silu
    at.patch.setattr(nn.functional, "silu", outside(original))


@mutation("scaled_dot_product_attention was replaced")
def built_in_of_a_library_replaced(at: Scene) -> None:
    original = nn.functional.scaled_dot_product_attention
    at.patch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **o: original(*a, **o) * 1.01
    )


@mutation("torch.nn.functional.silu was replaced")
def library_function_replaced_by_another(at: Scene) -> None:
    at.patch.setattr(nn.functional, "silu", nn.functional.relu)


@mutation("randn_tensor was replaced")
def function_of_the_pipeline_module_replaced(at: Scene) -> None:
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion as module

    original = module.randn_tensor
    at.patch.setattr(module, "randn_tensor", lambda *a, **o: original(*a, **o) * 1.01)


@mutation("Tensor.chunk was replaced")
def tensor_method_replaced(at: Scene) -> None:
    original = torch.Tensor.chunk
    at.patch.setattr(torch.Tensor, "chunk", outside(original), raising=False)


@mutation("unet is compiled")
def compiled(at: Scene) -> None:
    at.unet._compiled_call_impl = at.unet._call_impl


@mutation("unet is compiled")
def compiled_layer(at: Scene) -> None:
    at.unet.mid_block._compiled_call_impl = at.unet.mid_block._call_impl


@mutation("vae.decode was replaced")
def compiled_method(at: Scene) -> None:
    original = at.pipe.vae.decode
    at.pipe.vae.decode = torch.compiler.disable(original)


# The scheduler.


@mutation(None)
def scheduler_swapped(at: Scene) -> None:
    from diffusers import EulerDiscreteScheduler

    at.pipe.scheduler = EulerDiscreteScheduler.from_config(at.pipe.scheduler.config)


@mutation(None)
def scheduler_configured(at: Scene) -> None:
    config = at.pipe.scheduler.config
    at.pipe.scheduler = type(at.pipe.scheduler).from_config(config, steps_offset=0)


@mutation("scheduler.alphas_cumprod")
def scheduler_table_patched(at: Scene) -> None:
    at.pipe.scheduler.alphas_cumprod[500] *= 0.999


@mutation("scheduler.init_noise_sigma")
def scheduler_number_patched(at: Scene) -> None:
    at.pipe.scheduler.init_noise_sigma = 1.5


@mutation("scheduler._shift", kind="flux")
def scheduler_shift_set(at: Scene) -> None:
    at.pipe.scheduler.set_shift(1.7)


@mutation("low_res_scheduler.alphas_cumprod", kind="upscale")
def second_scheduler_patched(at: Scene) -> None:
    at.pipe.low_res_scheduler.alphas_cumprod *= 0.9


@mutation("outside the recorded libraries")
def foreign_scheduler(at: Scene) -> None:
    class Mine(type(at.pipe.scheduler)):  # type: ignore[misc]
        pass

    at.pipe.scheduler = Mine.from_config(at.pipe.scheduler.config)


# Text.


@mutation("tokenizer differs")
def token_added(at: Scene) -> None:
    at.pipe.tokenizer.add_tokens(["<brand>"])


@mutation("tokenizer differs")
def tokenizer_length(at: Scene) -> None:
    at.pipe.tokenizer.model_max_length = 20


@mutation("tokenizer differs")
def padding_token(at: Scene) -> None:
    at.pipe.tokenizer.pad_token = "a"


@mutation("tokenizer differs")
def padding_side(at: Scene) -> None:
    at.pipe.tokenizer.padding_side = "left"


@mutation("TokenizersBackend.__call__")
def tokenizer_class_patched(at: Scene) -> None:
    original = type(at.pipe.tokenizer).__call__
    at.patch.setattr(
        type(at.pipe.tokenizer).__mro__[1],
        "__call__",
        outside(original),
        raising=False,
    )


@mutation("text_encoder")
def textual_inversion_past_the_wrapper(at: Scene) -> None:
    file = pipelines.embedding_file(at.folder / "brand.safetensors")
    at.pipe.load_textual_inversion(str(file))


# The pipeline itself.


@mutation("pipeline.image_processor")
def image_processor_patched(at: Scene) -> None:
    original = at.pipe.image_processor.postprocess
    at.pipe.image_processor.postprocess = outside(original)


@mutation("pipeline.image_processor")
def image_processor_configured(at: Scene) -> None:
    at.pipe.image_processor.register_to_config(do_normalize=False)


@mutation("pipeline.image_processor")
def image_processor_replaced(at: Scene) -> None:
    class Mine(type(at.pipe.image_processor)):  # type: ignore[misc]
        pass

    at.pipe.image_processor = Mine()


@mutation("VaeImageProcessor.denormalize was replaced")
def image_processor_class_patched(at: Scene) -> None:
    from diffusers.image_processor import VaeImageProcessor

    at.patch.setattr(VaeImageProcessor, "denormalize", staticmethod(lambda images: images))


@mutation("pipeline.vae_scale_factor")
def number_on_the_pipeline(at: Scene) -> None:
    at.pipe.vae_scale_factor = 2


@mutation("pipeline option requires_safety_checker")
def text_as_an_option_of_the_pipeline(at: Scene) -> None:
    at.pipe.register_to_config(requires_safety_checker="perhaps")


@mutation(None)
def switch_of_the_pipeline(at: Scene) -> None:
    at.pipe.register_to_config(requires_safety_checker=True)


@mutation("safety_checker")
def safety_checker_that_is_a_function(at: Scene) -> None:
    at.pipe.safety_checker = lambda images, **rest: (images, [False] * len(images))
    at.pipe.feature_extractor = lambda images, **rest: types.SimpleNamespace(
        to=lambda device: types.SimpleNamespace(pixel_values=torch.zeros(1))
    )


@mutation("callback_on_step_end")
def callback_that_edits_latents(at: Scene) -> None:
    def edit(pipe: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": values["latents"] * 1.01}

    at.options["callback_on_step_end"] = edit


# LoRAs.


@mutation(None, lora=True)
def lora_weight(at: Scene) -> None:
    at.pipe.set_adapters(["made"], [0.79])


@mutation(None, lora=True)
def lora_weight_of_a_layer(at: Scene) -> None:
    _lora_layer(at).set_scale("made", 0.5)


@mutation(None, lora=True)
def lora_off(at: Scene) -> None:
    at.pipe.disable_lora()


@mutation("weights of lora/made", lora=True)
def lora_written(at: Scene) -> None:
    _lora_layer(at).lora_B["made"].weight.data.mul_(1.01)


@mutation("unet has a LoRA fused", lora=True)
def lora_fused(at: Scene) -> None:
    at.pipe.fuse_lora()


@mutation("unet has a LoRA fused", lora=True)
def lora_fused_into_one_component(at: Scene) -> None:
    at.unet.fuse_lora(lora_scale=0.8)


@mutation("weights of unet", lora=True)
def lora_fused_and_unfused(at: Scene) -> None:
    at.pipe.fuse_lora(lora_scale=0.7)
    at.pipe.unfuse_lora()


@mutation("weights of unet", lora=True)
def lora_fused_and_unloaded(at: Scene) -> None:
    at.pipe.fuse_lora()
    at.pipe.unload_lora_weights()


@mutation("unet has a LoRA whose dropout is live", lora=True)
def lora_dropout(at: Scene) -> None:
    _lora_layer(at).lora_dropout["made"] = nn.Dropout(0.1)


@mutation("lora/other was not loaded from a file")
def lora_past_the_wrapper(at: Scene) -> None:
    file = pipelines.lora_file("txt2img", at.pipe, at.folder / "other.safetensors")
    at.pipe.load_lora_weights(str(file), adapter_name="other")


# What surrounds the call.


@mutation("scheduler.final_alpha_cumprod")
def default_dtype(at: Scene) -> None:
    at.stack.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float64)


@mutation("autocast")
def autocast(at: Scene) -> None:
    at.stack.enter_context(torch.autocast("cpu", torch.bfloat16))


@mutation(None)
def inference_mode(at: Scene) -> None:
    at.stack.enter_context(torch.inference_mode())


@mutation(None)
def deterministic(at: Scene) -> None:
    at.stack.callback(torch.use_deterministic_algorithms, mode=False)
    torch.use_deterministic_algorithms(mode=True)


@mutation(None)
def matmul_precision(at: Scene) -> None:
    at.stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision("medium")


@mutation(None)
def attention_kernels(at: Scene) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    at.stack.enter_context(sdpa_kernel([SDPBackend.MATH]))


@mutation(None)
def mkldnn_off(at: Scene) -> None:
    at.stack.enter_context(torch.backends.mkldnn.flags(enabled=False))


@mutation(None)
def threads(at: Scene) -> None:
    before = torch.get_num_threads()
    at.stack.callback(torch.set_num_threads, before)
    torch.set_num_threads(before + 1)


@mutation("denormal")
def denormals_flushed(at: Scene) -> None:
    at.stack.callback(torch.set_flush_denormal, False)
    torch.set_flush_denormal(True)


@mutation("function mode")
def function_mode(at: Scene) -> None:
    from torch.overrides import TorchFunctionMode

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, kinds: Any, args: Any = (), options: Any = None
        ):
            return function(*args, **(options or {}))

    at.stack.enter_context(Mode())


@mutation("dispatch mode")
def dispatch_mode(at: Scene) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, kinds: Any, args: Any = (), options: Any = None
        ):
            return function(*args, **(options or {}))

    at.stack.enter_context(Mode())


@mutation("numpy's global random state")
def scheduler_that_draws_from_numpy(at: Scene) -> None:
    original = type(at.pipe.scheduler).step

    def step(*args: Any, **options: Any) -> Any:
        np.random.rand()  # noqa: NPY002 (the global state is what this is about)
        return original(*args, **options)

    at.patch.setattr(type(at.pipe.scheduler), "step", step)


@mutation("torch's global random state")
def scheduler_that_draws_from_torch(at: Scene) -> None:
    original = type(at.pipe.scheduler).step

    def step(*args: Any, **options: Any) -> Any:
        torch.rand(1)
        return original(*args, **options)

    at.patch.setattr(type(at.pipe.scheduler), "step", step)


@mutation("attention backend", kind="flux")
def attention_backend(at: Scene) -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend

    at.stack.enter_context(attention_backend(AttentionBackendName._NATIVE_MATH))


@mutation(None, kind="controlnet")
def argument_of_the_call(at: Scene) -> None:
    at.options["controlnet_conditioning_scale"] = 0.9


@mutation(None, kind="img2img")
def input_picture(at: Scene) -> None:
    at.options["image"] = pipelines.picture(seed=9)


def _embeddings(encoder: Any) -> Any:
    return next(m for n, m in encoder.named_modules() if n.endswith("embeddings"))


def _lora_layer(at: Scene) -> Any:
    return next(m for _, m in at.unet.named_modules() if hasattr(m, "lora_B") and m.lora_B)

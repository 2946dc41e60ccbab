"""Paints the pictures of a campaign: one pipeline at a time, kept while the next wants the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from registry.similarity.decode import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from generators.campaign.plan import Step
    from generators.campaign.recorder import CampaignRecorder
    from registry.core.answers import Receipt

Task = Literal["text", "img2img", "inpaint"]
SEAM = 2
"""Pixels of a picture that an outpainting may paint anew beside the room that was added."""


class Painter:
    """Makes pictures with diffusion pipelines, each call recorded."""

    def __init__(self, recorder: CampaignRecorder) -> None:
        self._recorder = recorder
        self._key: tuple[Any, ...] = ()
        self._pipes: dict[Task, Any] = {}
        self._plain: Any = None

    def paint(self, step: Step, parent: bytes | None) -> Receipt:
        """Paint a step from its parent's bytes, where it has one.

        Raises InputError for a model, LoRA or parent that cannot be used.
        """
        import torch

        asked = step.parameters
        image = None if parent is None else self._open(parent)
        task: Task = "text"
        more: dict[str, Any] = {}
        if image is not None:
            more = {"image": image, "strength": asked["strength"]}
            mask = mask_of(asked, image.width, image.height)
            task = "img2img" if mask is None else "inpaint"
            if mask is not None:
                more |= {"mask_image": mask, "width": image.width, "height": image.height}
        else:
            more = {side: asked[side] for side in ("width", "height") if asked.get(side)}
        result = self._pipeline(asked, task)(
            asked["prompt"],
            negative_prompt=asked["negative_prompt"],
            num_inference_steps=asked["steps"],
            guidance_scale=asked["guidance_scale"],
            generator=torch.Generator().manual_seed(step.seed or 0),
            **more,
        )
        receipt: Receipt = result.receipt
        return receipt

    def _open(self, data: bytes) -> Image:
        return open_image(data, self._recorder.settings.limits).convert("RGB")

    def _pipeline(self, asked: Mapping[str, Any], task: Task) -> Any:
        """Return the recorded pipeline of a model and its LoRAs; tasks share its components."""
        from generators import recorded
        from generators.studio import for_task, load_loras, load_pipeline

        key = (asked["model"], tuple(asked["loras"].items()))
        if key != self._key:
            self._key, self._pipes, self._plain = (), {}, None  # never two models in memory
        model = None if asked["model"] is None else Path(asked["model"])
        if task not in self._pipes:
            if asked["loras"]:  # known by the pipeline that they were loaded into: not shared
                loaded = load_pipeline(model, task)
            else:
                self._plain = self._plain or load_pipeline(model, "text")
                loaded = for_task(self._plain, task)
            pipe = recorded(loaded, self._recorder)
            load_loras(pipe, asked["loras"])
            self._pipes[task] = pipe
        self._key = key
        return self._pipes[task]


def mask_of(asked: Mapping[str, Any], width: int, height: int) -> Image | None:
    """Return what is painted anew (white) of a picture, or None where nothing is masked."""
    from PIL import Image

    if "room" in asked:
        room = asked["room"]
        mask = Image.new("L", (width, height), 255)
        inner = [
            side + (SEAM if side else 0)
            for side in (room["left"], room["top"], room["right"], room["bottom"])
        ]
        mask.paste(0, (inner[0], inner[1], width - inner[2], height - inner[3]))
        return mask
    if "mask" in asked:
        part = asked["mask"]
        mask = Image.new("L", (width, height), 0)
        across = (round(part["left"] * width), round(part["right"] * width))
        down = (round(part["top"] * height), round(part["bottom"] * height))
        mask.paste(255, (across[0], down[0], across[1], down[1]))
        return mask
    return None

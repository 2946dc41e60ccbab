"""Train the copy model from nothing: `python -m generators.text.model.train --out FOLDER`.

Step-based and seeded, so that `dvc repro` remakes it. Writes a fp16 model folder.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.demo_model import training
from generators.text.model import phrases
from generators.text.model.params import CopyParams, load_params
from generators.text.prompts import prompt_of

if TYPE_CHECKING:
    import torch

END = "<|end|>"
IGNORED = -100
"""The label of a token that the loss leaves out."""


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    environment.prepare()
    model, words = train(load_params(options.params))
    save(model, words, options.out)


def train(params: CopyParams) -> tuple[Any, Any]:
    """Train and return (model in fp32, tokenizer). Sets the process's torch determinism."""
    import torch

    training.deterministic_runtime(params.seed)
    rng = random.Random(params.seed)  # noqa: S311 (data, not secrets)
    words = tokenizer(params, rng)
    model = architecture(words, params)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, params.rate, betas=(0.9, 0.98), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.rate, total_steps=params.steps, pct_start=0.1
    )
    progress = training.Progress("copy")
    model.train()
    for _ in range(params.steps):
        ids, labels = batch(words, params, rng)
        loss = model(input_ids=ids, labels=labels).loss
        training.step(loss, weights, optimizer, schedule)
        progress.report(loss.item())
    return model.eval(), words


def save(model: Any, words: Any, folder: Path) -> None:
    """Write model and tokenizer as a folder of fp16 safetensors."""
    import torch

    model.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)


def texts(rng: random.Random) -> tuple[str, str]:
    """Draw a prompt and its answer: JSON without any white space between its parts."""
    drawn = phrases.sample(rng)
    answer = json.dumps(dict(drawn.copy), ensure_ascii=False, separators=(",", ":"))
    return prompt_of(drawn.brief), answer


def tokenizer(params: CopyParams, rng: random.Random) -> Any:
    """Train byte-level byte pairs on samples: any text has tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def corpus() -> Iterator[str]:
        for _ in range(params.tokenizer_samples):
            yield from texts(rng)

    pairs.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pairs,
        eos_token=END,
        pad_token=END,
        model_max_length=params.positions,
        padding_side="left",
    )


def architecture(words: Any, params: CopyParams) -> Any:
    """Return an untrained model: a Llama of a few layers, embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=params.vocabulary,
            hidden_size=params.width,
            intermediate_size=params.inner,
            num_hidden_layers=params.layers,
            num_attention_heads=params.heads,
            max_position_embeddings=params.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )


def batch(words: Any, params: CopyParams, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw (ids, labels), each (batch, longest); only the answer and its end have labels."""
    import torch

    rows = []
    for _ in range(params.batch):
        prompt, answer = texts(rng)
        asked = words(prompt, add_special_tokens=False).input_ids
        answered = words(answer, add_special_tokens=False).input_ids
        rows.append((asked, [*answered, words.eos_token_id]))
    longest = max(len(asked) + len(answered) for asked, answered in rows)
    ids = torch.full((params.batch, longest), words.pad_token_id)
    labels = torch.full((params.batch, longest), IGNORED)
    for row, (asked, answered) in enumerate(rows):
        whole = len(asked) + len(answered)
        ids[row, :whole] = torch.tensor([*asked, *answered])
        labels[row, len(asked) : whole] = torch.tensor(answered)
    return ids, labels


if __name__ == "__main__":
    main()

"""The verb that writes text; light to import, heavy when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.answers import PassageView, WrittenText
from registry.cli.options import Campaign, Home, Json, Project
from registry.errors import InputError


def write(
    subject: Annotated[
        str, typer.Argument(metavar="TEXT", help="The product; with --schema, the whole prompt.")
    ],
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    audience: Annotated[
        str, typer.Option("--audience", metavar="TEXT", help="Whom the copy speaks to.")
    ] = "",
    tone: Annotated[
        str, typer.Option("--tone", metavar="WORD", help="bold, calm, elegant, playful or warm.")
    ] = "",
    fact: Annotated[
        list[str] | None, typer.Option("--fact", metavar="TEXT", help="What it must say.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="FOLDER", help="The house's texts, or `brand`: a demo."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE", help="A JSON Schema that the answer follows."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FOLDER", help="A transformers model; else the copy model."
        ),
    ] = None,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="0 to 2^64-1; else a fresh one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the text here.")
    ] = None,
) -> None:
    """Write copy for a product with a local model and record it.

    The model is kept to a JSON Schema; the record holds model, prompt, seed, settings, the passages
    that were looked up, and what a validator says of the answer. Ends with 1 if the answer is not
    valid; it is recorded all the same.

    For example:
    genops write "red mug" --audience "early risers" --tone warm
    genops write "blue lamp" --fact "made of recycled glass" --corpus brand --seed 7
    genops write "Name three colours." --schema colours.json --model models/assistant
    """
    from generators.environment import prepare
    from generators.seeds import fresh_seed, parse_seed
    from registry.cli.opening import opened_here
    from registry.cli.output import emit

    prepare()
    chosen = fresh_seed() if seed is None else parse_seed(seed)
    if schema is not None and (audience or tone or fact or corpus is not None):
        raise InputError(
            "--schema takes the prompt as it is: no audience, tone, fact or corpus",
            code="usage",
            hint="Put them into the prompt, or leave --schema out.",
        )
    with opened_here(home, "write", to_sign=True) as registry:
        from generators.text import copy

        context = None
        if schema is not None:
            written = copy.ask(
                registry,
                subject,
                copy.read_schema(schema),
                model=model,
                seed=chosen,
                project=project,
                campaign=campaign,
            )
        else:
            folder = copy.BRAND if corpus is not None and str(corpus) == "brand" else corpus
            brief = copy.CopyBrief(subject, audience, tone, tuple(fact or ()), folder, chosen)
            written, context = copy.write_with_passages(
                registry, brief, project=project, campaign=campaign, model=model
            )
    if out is not None:
        out.write_text(written.text, "utf-8")
    answer = _answer(written, context, chosen)
    emit(answer, _text, as_json=json)
    if not answer.valid:
        raise typer.Exit(1)


def _answer(written: Any, context: Any, seed: int) -> WrittenText:
    verdict = written.verdicts[0]
    return WrittenText(
        id=written.receipt.assets[0],
        record=written.receipt.record,
        index=written.receipt.index,
        seed=str(seed),
        text=written.text,
        document=verdict.document,
        valid=verdict.valid,
        finished=verdict.finished,
        failures=verdict.failures,
        passages=tuple(
            PassageView(one.file, one.offset, one.role, one.score, one.text)
            for one in (() if context is None else context.passages)
        ),
    )


def _text(answer: WrittenText) -> str:
    document = answer.document
    lines = (
        [f"{name}: {value}" for name, value in document.items()]
        if isinstance(document, dict)
        else [answer.text]
    )
    if not answer.valid:
        lines.append(f"not valid: {', '.join(answer.failures)}")
    lines += [
        f"  {one.role} {one.file}, score {one.score:.2f}: {one.text}" for one in answer.passages
    ]
    return "\n".join([*lines, answer.id, f"record {answer.record} at index {answer.index}", ""])

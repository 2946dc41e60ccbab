"""The verbs that run ComfyUI workflows; light to import, the server is spoken to when they run."""

import json as jsonlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Asset, Campaign, Home, Json, Project
from registry.errors import InputError

comfyui = subcommands("Run ComfyUI workflows on a server and record them.")


@comfyui.command("run", cls=Verb)
def run(
    workflow: Annotated[
        Path, typer.Argument(metavar="WORKFLOW", help="A workflow exported in API format.")
    ],
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    server: Annotated[
        str, typer.Option("--server", metavar="URL", help="The ComfyUI server.")
    ] = "http://127.0.0.1:8188",
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", metavar="FOLDER", help="Its models folder; repeatable."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Replace an input; repeatable."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=1.0, help="Longest run, seconds.")
    ] = 3600.0,
    request_id: Annotated[
        str | None,
        typer.Option("--request-id", metavar="UUID", help="Take up a run whose end was missed."),
    ] = None,
    personal: Annotated[
        bool, typer.Option("--personal", help="The output shows a person: store it encrypted.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the outputs here.")
    ] = None,
) -> None:
    """Run a workflow on a ComfyUI server and record it node by node.

    Model files below --models are recorded by digest, so that a taint of a LoRA reaches what it
    helped to make. Texts and file names are sealed, outputs are kept to the byte. The record says
    what could not be read, and that only a server can run it again.

    For example:
    genops comfyui run mug.api.json --models ComfyUI/models --out mug.png
    genops comfyui run mug.api.json --set 3.seed=7 --set "6.text=a red mug"
    """
    from generators.comfyui.recorded import recorded_comfyui
    from generators.hosted.files import write_outputs
    from generators.hosted.transport import Bounds
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.core.remote_answers import ComfyRun

    bounds = replace(Bounds(), total_s=timeout)
    with opened_here(home, "comfyui run", to_sign=True) as registry, progress() as line:
        comfy = recorded_comfyui(
            server,
            registry,
            models=models or (),
            project=project,
            campaign=campaign,
            personal=personal,
            bounds=bounds,
        )
        result = comfy.run(
            workflow, values=_values(values), request_id=request_id, tell=_teller(line)
        )
    answer = ComfyRun(
        receipt=result.receipt,
        prompt_id=result.prompt_id,
        nodes=result.nodes,
        cached=result.cached,
        models=result.models,
        unread=result.unread,
        embedded=result.embedded,
        reasons=result.reasons,
        files=write_outputs(result.outputs, out),
    )
    emit(answer, _text, as_json=json)
    if result.embedded and not personal:
        print(
            f"note: {result.embedded} of the pictures hold the workflow, with its texts, in their"
            " own metadata; erasing the record leaves them there (docs/comfyui.md)",
            file=sys.stderr,
        )


@comfyui.command("workflow", cls=Verb)
def workflow_of(
    asset: Asset,
    home: Home = None,
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the workflow here.")
    ] = None,
) -> None:
    """Give back the workflow that made an asset, to run it again.

    It is the one that was submitted, seeds and texts included, as long as its texts are not erased.

    For example:
    genops comfyui workflow 3f2a9c41 --out again.api.json
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.core.remote_answers import ComfyWorkflow

    with opened(home) as registry:
        passport = registry.get(asset)
    text = passport.setup.get("workflow")
    if not isinstance(text, str):
        raise InputError(
            f"{passport.id} has no workflow that can be read",
            code="comfyui.no-workflow",
            hint="no ComfyUI run made it, or its texts were erased",
        )
    if out is not None:
        out.write_text(text + "\n", "utf-8")
    answer = ComfyWorkflow(passport.record, jsonlib.loads(text), None if out is None else str(out))
    emit(answer, lambda _one: f"wrote {out}\n" if out is not None else f"{text}\n", as_json=json)


def _teller(line: Any) -> Any:
    """Show how far a run is, on a terminal: its nodes, and the steps of the one at work."""
    lines: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in lines:
            lines[what] = line(what)
        if lines[what] is not None:
            lines[what](done, total)

    return tell


def _values(texts: list[str] | None) -> dict[str, Any]:
    values = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or "." not in name:
            raise InputError(
                f"--set {text[:80]!r} is not NODE.INPUT=VALUE", code="usage", hint="--set 3.seed=7"
            )
        try:
            values[name] = jsonlib.loads(value)
        except (ValueError, RecursionError):
            values[name] = value
    return values


def _text(answer: Any) -> str:
    from registry.cli.text import visible

    receipt = answer.receipt
    known = "" if receipt.new else ", recorded before"
    lines = [*receipt.assets, f"record {receipt.record} at index {receipt.index}{known}"]
    cached = f", {len(answer.cached)} of them from an earlier run" if answer.cached else ""
    lines.append(f"nodes  {answer.nodes}{cached}")
    lines.append(f"models {answer.models} read" + "".join(f", not {one}" for one in answer.unread))
    lines += [f"not reproducible: {reason}" for reason in answer.reasons]
    lines += [f"wrote  {file}" for file in answer.files]
    return "\n".join(map(visible, lines)) + "\n"

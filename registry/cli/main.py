"""The entry point: which verbs there are, and what becomes of errors and exit codes.

Imports typer and the error classes only; a verb's module is loaded when the verb is called.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from registry.cli.frame import Section, VerbGroup

_OBJECTS_TO_START = 500_000

SECTIONS = (
    Section(
        "Start",
        {
            "init": "registry.cli.home:init",
            "doctor": "registry.cli.home:doctor",
            "serve": "registry.cli.home:serve",
            "keys": "registry.cli.trust:keys",
        },
    ),
    Section(
        "Ask",
        {
            "record": "registry.cli.assets:record",
            "ingest": "registry.cli.ingest:ingest",
            "list": "registry.cli.assets:list_assets",
            "search": "registry.cli.searching:search",
            "show": "registry.cli.assets:show",
            "read": "registry.cli.privacy:read",
            "verify": "registry.cli.assets:verify",
            "find": "registry.cli.finding:find",
            "lineage": "registry.cli.graph:lineage",
            "impact": "registry.cli.graph:impact",
            "diff": "registry.cli.replays:diff",
        },
    ),
    Section(
        "Act",
        {
            "taint": "registry.cli.graph:taint",
            "review": "registry.cli.release:review",
            "gate": "registry.cli.release:gate",
            "bank": "registry.cli.banks:bank",
            "match": "registry.cli.matches:match",
            "reproduce": "registry.cli.replays:reproduce",
            "erase": "registry.cli.privacy:erase",
            "hold": "registry.cli.privacy:hold",
            "retention": "registry.cli.privacy:retention",
            "drafts": "registry.cli.drafts:drafts",
            "subject": "registry.cli.subjects:subject",
            "policy": "registry.cli.policies:policy",
        },
    ),
    Section(
        "Prove",
        {
            "log": "registry.cli.logs:log",
            "evidence": "registry.cli.evidence:evidence",
            "verify-evidence": "registry.cli.evidence:verify_evidence",
        },
    ),
    Section(
        "Maintain",
        {
            "catalog": "registry.cli.upkeep:catalog",
            "mirror": "registry.cli.upkeep:mirror",
        },
    ),
    Section(
        "Move",
        {
            "export": "registry.cli.transfer:export",
            "backup": "registry.cli.transfer:backup",
            "import": "registry.cli.transfer:import_home",
            "restore": "registry.cli.recovery:restore",
            "upgrade": "registry.cli.transfer:upgrade",
        },
    ),
)


@dataclass(slots=True)
class Invocation:
    """What the options before the verb say of this call."""

    debug: bool = False


def _show_version(wanted: bool) -> None:
    if wanted:
        from registry.cli.failures import version

        typer.echo(f"genops {version()}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="GENOPS_DEBUG", help="Show tracebacks; also GENOPS_DEBUG=1."
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Lineage and governance for generated assets.

    What is this file, how was it made, from what, by whom, may we ship it, can we make it again?
    ID is an asset (`sha256:…`), a record (`rec:…`), 8 or more of its hex digits, or a path to a
    file. Every verb takes `--json` and `--home`; `genops VERB --help` ends with examples.
    """
    ctx.obj.debug = debug


def command() -> typer.core.TyperGroup:
    """Build the root command; verbs are attached by name and loaded when they are used."""
    app = typer.Typer(
        name="genops",
        cls=VerbGroup,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    root = typer.main.get_command(app)
    assert isinstance(root, VerbGroup)  # noqa: S101  # given as `cls` above
    root.sections = SECTIONS
    return root


def main() -> int:
    """Run the command line as a process of its own, tuned for verbs that end at once.

    Starting makes some 300,000 objects that live until the end: the collector would walk them
    over and over, and once more on the way out. That was a quarter of the time of `genops show`.
    """
    gc.set_threshold(_OBJECTS_TO_START)
    try:
        return run()
    finally:
        gc.freeze()


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never raises for a user's mistake.

    0 ok, 1 a violation or a failed check, 2 bad input or nothing that could be judged, 3 the
    registry cannot be reached, 130 interrupted, 141 the reader of the output went away.
    """
    words = list(sys.argv[1:] if args is None else args)
    call = Invocation()
    try:
        code = command().main(
            words or ["--help"], prog_name="genops", standalone_mode=False, obj=call
        )
    except BaseException as error:  # noqa: BLE001  # the one place that turns errors into codes
        from registry.cli.failures import report

        return report(error, words, debug=call.debug)
    return code if isinstance(code, int) else 0

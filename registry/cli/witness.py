"""Verbs about witnesses: being one, having them, and what they need of the log."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json
from registry.errors import InputError

witness = subcommands("Cosign other logs as a witness; let witnesses cosign this one.")

VKey = Annotated[str, typer.Argument(metavar="VKEY|FILE", help="A public key, or a file with one.")]


@witness.command("key", cls=Verb)
def key(home: Home = None, json: Json = False) -> None:
    """Print this registry's public key as a witness; made when it is first asked for.

    Give it to the logs that you cosign: they add it with `genops log witness add`.

    For example:
      genops log witness key > witness.vkey
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import own_key

    with opened_here(home, "log witness key", to_sign=True) as registry:
        emit(registry.witness.key(), own_key, as_json=json)


@witness.command("add", cls=Verb)
def add(vkey: VKey, home: Home = None, json: Json = False) -> None:
    """Let a witness's cosignatures of this log count, by its public key.

    Get the key from whoever runs the witness, never from a checkpoint.

    For example:
      genops log witness add witness.vkey
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_key
    from registry.cli.render.witness import added

    with opened_here(home, "log witness add") as registry:
        emit(registry.witness.add(log_key(vkey)), added, as_json=json)


@witness.command("add-log", cls=Verb)
def add_log(vkey: VKey, home: Home = None, json: Json = False) -> None:
    """Let another log be followed and cosigned here, by its public key.

    A registry's is in its `keys/log.vkey`; get it from its operator.

    For example:
      genops log witness add-log studio-log.vkey
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_key
    from registry.cli.render.witness import added

    with opened_here(home, "log witness add-log") as registry:
        emit(registry.witness.add_log(log_key(vkey)), added, as_json=json)


@witness.command("list", cls=Verb)
def list_witnesses(home: Home = None, json: Json = False) -> None:
    """List who cosigns this log, and which logs this registry cosigns.

    For example:
      genops log witness list
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import overview

    with opened_here(home, "log witness list") as registry:
        emit(registry.witness.list(), overview, as_json=json)


@witness.command("follow", cls=Verb)
def follow(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A registry's folder, static tiles, or a URL.")
    ],
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY|FILE", help="The log's public key; else those added."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the cosigned checkpoint here."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", min=0.0, help="Look again after so long."),
    ] = None,
    times: Annotated[
        int, typer.Option("--times", metavar="N", min=1, help="How often to look in all.")
    ] = 1,
    with_token: Annotated[
        bool, typer.Option("--with-token", help="Send GENOPS_API_TOKEN to the source.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Cosign another log's checkpoint, if it goes on from the last one cosigned.

    Ends with 1 when the log went back or forked: then nothing is signed, and both checkpoints are
    kept. A registry's own folder gets the cosignature at once, if it knows this witness; otherwise
    send the file of `--out` to its operator for `genops log witness keep`.

    For example:
      genops log witness follow /srv/studio --key studio-log.vkey
      genops log witness follow https://studio.example/tlog --out cosigned.txt
      genops log witness follow https://studio.example/tlog --every 60 --times 1440
    """
    from registry.cli.following import rounds
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_key
    from registry.cli.render.witness import followed
    from registry.settings import remote_token

    if times > 1 and every is None:
        raise InputError("--times needs --every", code="usage", hint="say how long to wait between")
    vkeys = [log_key(text) for text in keys or ()]
    token = remote_token() if with_token else None
    done = []
    with opened_here(home, "log witness follow", to_sign=True) as registry:
        for one in rounds(
            lambda: registry.witness.follow(source, vkeys, token=token), times, every or 0.0
        ):
            done.append(one)
            if out is not None:
                out.write_text(one.checkpoint, "utf-8")
            if not json:
                emit(one, followed, as_json=False)
    if json:
        emit(done, str, as_json=True)


@witness.command("submit", cls=Verb)
def submit(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The prefix where it takes `add-checkpoint`.")
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Ask a witness to cosign this log's newest checkpoint, and keep what it signs.

    Any witness of the C2SP protocol will do; a registry is one at `/witness`. Ends with 1 when it
    has seen another log than this one.

    For example:
      genops log witness submit https://witness.example/witness
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import cosigned

    with opened_here(home, "log witness submit") as registry:
        emit(registry.witness.submit(url), cosigned, as_json=json)


@witness.command("keep", cls=Verb)
def keep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The cosigned checkpoint.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Keep the cosignatures on a checkpoint of this log that a witness sent back.

    They are verified against the log first; those by unknown witnesses are left out.

    For example:
      genops log witness keep cosigned.txt
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import cosigned

    with opened_here(home, "log witness keep") as registry:
        emit(registry.witness.keep(file.read_bytes()), cosigned, as_json=json)


def consistency(
    old: Annotated[
        int | None, typer.Argument(metavar="OLD", min=0, help="Number of records then.")
    ] = None,
    new: Annotated[
        int | None,
        typer.Argument(metavar="NEW", min=0, help="Number of records later; else now."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="A checkpoint that was kept, instead of OLD."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Prove that the log goes on from what it was: nothing was changed or taken out.

    With a kept checkpoint, ends with 1 when today's log does not hold that tree any more.

    For example:
      genops log head > checkpoint.txt
      genops log consistency --since checkpoint.txt
      genops log consistency 5 9 --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import consistency as render

    if (old is None) == (since is None) or (since is not None and new is not None):
        raise InputError(
            "name the log then by OLD or by --since, one of them",
            code="usage",
            hint="genops log consistency --since checkpoint.txt",
        )
    with opened_here(home, "log consistency") as registry:
        if since is not None:
            answer = registry.witness.consistency_since(since.read_bytes())
        else:
            assert old is not None  # noqa: S101  # checked above
            answer = registry.witness.consistency(old, new)
        emit(answer, render, as_json=json)


def export_tiles(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Write the log as static files (C2SP tlog-tiles) that any web server can offer.

    Again into the same folder, only what is new is written. The entries name records by digest:
    no prompt, name or picture is in them.

    For example:
      genops log export-tiles /srv/www/log
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.witness import exported

    with opened_here(home, "log export-tiles") as registry, progress() as line:
        answer = registry.witness.export_tiles(folder, line("tiles"))
    emit(answer, exported, as_json=json)

"""Verbs for a person's request: find, export, erase, and certify what is held on them."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json, LogKey
from registry.cli.privacy import HELD, Reason, Yes

subject = subcommands("Find, export and erase what is held on a person.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The person's name, as an actor's or in texts.")
]
NewFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="A new file for it.")]


@subject.command("find", cls=Verb)
def find(name: Name, home: Home = None, json: Json = False) -> None:
    """Find every record that concerns a person.

    As actor, by the name's pseudonym; in sealed texts, which are all opened and searched, in any
    case and as whole words; and outside them, where it cannot be erased. Shows places, no texts.

    For example:
      genops subject find "Jane Doe"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import mentions

    with opened_here(home, "subject") as registry, progress() as line:
        report = registry.privacy.find(name, progress=line("records"))
    emit(report, mentions, as_json=json)


@subject.command("export", cls=Verb)
def export(name: Name, out: NewFile, home: Home = None, json: Json = False) -> None:
    """Write a ZIP of all that is held on a person: records with their texts, personal pictures.

    It holds every text of those records, other persons' too: read it before you hand it out.

    For example:
      genops subject export "Jane Doe" --out jane-doe.zip
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import exported

    with opened_here(home, "subject") as registry, progress() as line:
        done = registry.privacy.export(name, out, progress=line("records"))
    emit(done, exported, as_json=json)


@subject.command("erase", cls=Verb)
def erase(
    name: Name, reason: Reason, yes: Yes = False, home: Home = None, json: Json = False
) -> None:
    """Erase every text and personal picture that concerns a person; as `erase --person`.

    What is under a legal hold is left and named, and the verb ends with 1.

    For example:
      genops subject erase "Jane Doe" --reason "request 2026-114" --yes
    """
    from registry.cli.opening import certain, opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import erasure, show_plan
    from registry.cli.text import plural

    with opened_here(home, "subject", to_sign=True) as registry:
        privacy = registry.privacy
        if not yes:
            with progress() as line:
                plan = privacy.plan(person=name, progress=line("texts"))
            show_plan(plan)
            certain(f"Erase the texts of {plural(len(plan.items), 'record')} for good?", yes=yes)
        with progress() as line:
            done = privacy.erase(person=name, reason=reason, progress=line("erasures"))
    emit(done, erasure, as_json=json)
    raise typer.Exit(HELD if done.held else 0)


@subject.command("certify", cls=Verb)
def certify(name: Name, out: NewFile, home: Home = None, json: Json = False) -> None:
    """Write a signed certificate of what was erased of a person, and what is held.

    It names the person by pseudonym and salted digest only, and verifies offline.

    For example:
      genops subject certify "Jane Doe" --out certificate.json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import certificate
    from registry.core.certificates import view

    with opened_here(home, "subject", to_sign=True) as registry, progress() as line:
        made = registry.privacy.certify(name, out, progress=line("texts"))
    emit(view(made, named=True), certificate, as_json=json)


@subject.command("verify", cls=Verb)
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The certificate.")],
    key: LogKey = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The person that it should mean.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Verify a certificate of erasure with only the log's public key.

    The key must come from somewhere you trust. Ends with 1 when something does not hold, or when
    the certificate means somebody else.

    For example:
      genops subject verify certificate.json --key log.vkey --name "Jane Doe"
    """
    from registry.cli.output import emit
    from registry.cli.proofs import trusted_log_key
    from registry.cli.render.privacy import certificate
    from registry.core.certificates import verify_certificate

    trusted = trusted_log_key(key, home)
    view = verify_certificate(file.read_bytes(), log_vkey=trusted, name=name)
    emit(view, certificate, as_json=json)
    raise typer.Exit(0 if view.ok else 1)

"""Verbs on the keys that sign records: see, make, add, rotate, revoke and disown them."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli import proposals, vouching
from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json
from registry.cli.trust_options import Actor, Key, Keys, Overlap, Reason, Roles, Since

keys = subcommands("See and change the keys that sign records.")


@keys.command("list", cls=Verb)
def list_keys(home: Home = None, json: Json = False) -> None:
    """List the keys that the log trusts, or trusted.

    For example:
      genops keys list
    """
    from registry.cli.keys import trusted_keys
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import keys as render

    with opened_here(home, "keys") as registry:
        emit(trusted_keys(registry), render, as_json=json)


@keys.command("show", cls=Verb)
def show_key(key: Key, home: Home = None, json: Json = False) -> None:
    """Show one key with its public half in PEM.

    For example:
      genops keys show 3f9a0c41
    """
    from registry.cli.keys import trusted_key
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import key as render

    with opened_here(home, "keys") as registry:
        emit(trusted_key(registry, key), render, as_json=json)


@keys.command("generate", cls=Verb)
def generate(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="The new private key, such as worker.pem."),
    ] = None,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="Put it into the home, for this role.")
    ] = "",
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase that protects it.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a signing key in a file, with its public half beside it.

    It counts nowhere until a registry adds it. GENOPS_PASSPHRASE protects it, if it is set.

    For example:
      genops keys generate worker.pem --passphrase
      genops keys add worker.pub.pem --role generator
    """
    from registry.cli.opening import passphrase_of_new_home
    from registry.cli.output import emit
    from registry.cli.render.trust import new_key as render
    from registry.errors import InputError
    from registry.settings import default_home, load_settings
    from registry.workflows.trust import generate as make
    from registry.workflows.trust import generate_for

    if (path is None) is not bool(role):
        raise InputError("name a PATH, or a role by --role", code="usage")
    secret = passphrase_of_new_home(ask=passphrase)
    if path is not None:
        made = make(path, secret)
    else:
        made = generate_for(load_settings(home or default_home()), role, secret)
    emit(made, render, as_json=json)


@keys.command("add", cls=Verb)
def add(
    public: Annotated[
        Path, typer.Argument(metavar="PUBLIC.pem", help="The public half, P-256 in PEM.")
    ],
    roles: Roles,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="When it begins to count; else now.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="When it ceases to; else never.")
    ] = "",
    reason: Reason = "",
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Trust another key: of a worker, a colleague, or a device.

    For example:
      genops keys add worker.pub.pem --role generator --until 2027-11-20
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import changed as render
    from registry.cli.trust_options import request
    from registry.workflows.trust import Wish

    wish = Wish(add=(request(public, roles, since, until),))
    with opened_here(home, "keys add", to_sign=True) as registry:
        emit(registry.trust.change(wish, reason=reason, actor=actor), render, as_json=json)


@keys.command("rotate", cls=Verb)
def rotate(
    roles: Annotated[
        list[str], typer.Argument(metavar="ROLE", help="generator, policy, reviewer or admin.")
    ],
    overlap: Overlap = 0.0,
    reason: Reason = "",
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give roles of this home new keys.

    A new key is made, trusted and used from here on, and the window of the old one closes. The old
    file stays, and what it signed stays believed.

    For example:
      genops keys rotate generator
      genops keys rotate generator policy --overlap 24 --reason "once a year"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import changed as render
    from registry.cli.trust_options import milliseconds

    with opened_here(home, "keys rotate", to_sign=True) as registry:
        done = registry.trust.rotate(
            *roles, overlap_ms=milliseconds(overlap), reason=reason, actor=actor
        )
        emit(done, render, as_json=json)


@keys.command("revoke", cls=Verb)
def revoke(
    named: Keys,
    reason: Reason = "",
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Close the windows of keys now.

    What they signed before stays believed. For a key that was stolen, `genops keys compromise`
    disowns what the thief signed, too.

    For example:
      genops keys revoke 3f9a0c41 --reason "the worker was retired"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import changed as render

    with opened_here(home, "keys revoke", to_sign=True) as registry:
        emit(registry.trust.revoke(*named, reason=reason, actor=actor), render, as_json=json)


@keys.command("compromise", cls=Verb)
def compromise(
    key: Key,
    since: Since = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What happened; kept sealed.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Make a new key for its roles in this home, at once.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Disown what a stolen key signed since a time. This cannot be taken back.

    Its later records are refused. Those that are in the log stay there, and are told as not
    believed: they fail `verify` and the gate until somebody else vouches for them.

    For example:
      genops keys compromise 3f9a0c41 --since 2026-11-20T11:07Z --reason "stolen"
      genops keys affected 3f9a0c41
    """
    from registry.cli.opening import certain, opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import changed as render
    from registry.core.times import read_time
    from registry.errors import InputError

    if not reason.strip():
        raise InputError("a compromise needs a reason", code="usage", hint="add --reason TEXT")
    moment = read_time(since) if since else None
    with opened_here(home, "keys compromise", to_sign=True) as registry:
        certain(f"Disown what {key} signed since {since or 'now'}, for good?", yes=yes)
        done = registry.trust.compromise(
            key, since_ms=moment, reason=reason, replace=replace, actor=actor
        )
        emit(done, render, as_json=json)


@keys.command("passphrase", cls=Verb)
def passphrase(
    remove: Annotated[
        bool, typer.Option("--remove", help="Protect the keys by the folder's permissions alone.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Set, change or remove the passphrase of a home.

    It protects signing keys, the key of sealed texts and the key of pseudonyms, all at once.
    The old passphrase is taken from GENOPS_PASSPHRASE, the new one from GENOPS_NEW_PASSPHRASE,
    and both are asked for on a terminal. After a crash either the old or the new one opens
    everything.

    For example:
      genops keys passphrase
      genops keys passphrase --remove
    """
    from registry.cli.opening import new_passphrase, opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import passphrase as render

    with opened_here(home, "keys passphrase", to_sign=True) as registry:
        new = None if remove else new_passphrase()
        emit(registry.trust.change_passphrase(new), render, as_json=json)


keys.command("affected", cls=Verb)(vouching.affected)
keys.command("reattest", cls=Verb)(vouching.reattest)
keys.command("propose", cls=Verb)(proposals.propose)
keys.command("sign", cls=Verb)(proposals.sign)
keys.command("submit", cls=Verb)(proposals.submit)

"""Verbs on a registry as a whole: make one, look after it, serve it, see its keys."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Home, Json
from registry.errors import InputError


def init(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The new folder; else --home.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The log's name, fixed for good.")
    ] = "genops",
    project: Annotated[
        str,
        typer.Option("--project", metavar="NAME", help="The project of records that name none."),
    ] = "default",
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help="Ask for a passphrase that protects the signing keys."),
    ] = False,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="An empty Postgres database, without password; else GENOPS_DATABASE_URL.",
        ),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a new registry in a folder.

    It holds the log, the keys, the catalog and the content store, and can be moved as a whole;
    with --database-url, log and catalog are in Postgres instead.

    Without --passphrase the keys are protected by GENOPS_PASSPHRASE if that is set, and otherwise
    by the folder's permissions alone.

    For example:
      genops init
      genops init /srv/registry --name acme --project spring --passphrase
      genops init --database-url postgresql+psycopg://genops@db.example/log
    """
    from registry.cli.keys import home_view
    from registry.cli.opening import passphrase_of_new_home
    from registry.cli.output import emit
    from registry.cli.render.reports import home as render
    from registry.factory import create_registry
    from registry.settings import default_home, is_url
    from registry.workflows.fresh import refuse_password

    if path is not None and home is not None and Path(home) != path:
        raise InputError("PATH and --home name two places", code="usage", hint="give one of them")
    where = str(path or home or default_home())
    if is_url(where):
        raise InputError(f"a registry is a folder, and {where} is a URL", code="usage.remote")
    refuse_password(database_url)
    secret = passphrase_of_new_home(ask=passphrase)
    with create_registry(
        where, name=name, project=project, passphrase=secret, database_url=database_url
    ) as registry:
        emit(home_view(registry), render, as_json=json)


def doctor(home: Home = None, json: Json = False) -> None:
    """Check the installation and the registry.

    Looks at Python, extras, folder, keys, disk, database, checkpoints and clock. Ends with 1 when a
    check fails. Changes nothing.

    For example:
      genops doctor
      genops doctor --home /srv/registry --json
    """
    from registry.cli.doctor import examine
    from registry.cli.output import emit
    from registry.cli.render.reports import doctor as render

    report = examine(home)
    emit(report, render, as_json=json)
    raise typer.Exit(0 if report.ok else 1)


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port.")
    ] = 8765,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host", metavar="NAME", help="A name it is reached by; may be repeated."
        ),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Serve the registry: pages for people, REST for programs.

    Listens on this machine alone unless --host says otherwise; then GENOPS_API_TOKEN must be set,
    and every request must carry it.

    For example:
      genops serve
      genops serve --host 0.0.0.0 --home /srv/registry
    """
    from registry.cli.answers import Served
    from registry.cli.output import emit
    from registry.cli.render.reports import served as render
    from registry.errors import MissingExtraError
    from registry.settings import default_home, load_settings

    settings = load_settings(home or default_home())
    try:
        from registry.web.app import serve as run
        from registry.web.security import check_binding
    except ImportError as error:
        raise MissingExtraError(
            "serving needs FastAPI, which is not installed",
            hint="pip install 'genops-registry[serve]'",
        ) from error
    check_binding(host, settings.api_token)
    view = Served(f"http://{host}:{port}/", str(settings.home.root))
    emit(view, render, as_json=json)
    run(settings.home.root, host, port, allowed_hosts=allowed_host or ())

"""How verbs become commands: loaded by name when used, listed in sections, helped by examples.

Knows typer and where plug-in verbs are declared; must not import any verb by itself.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from registry.errors import GenopsError, InputError, MissingExtraError

PLUGIN_GROUP = "genops.commands"
PLUGIN_SECTION = "Generate"
EXAMPLES = "For example:"

# The verbs that generators bring, so that a lean installation can say what is missing.
KNOWN_PLUGINS = ("generate", "train-lora", "demo", "write", "hosted", "campaign")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the help and its verbs, each with the `module:attribute` that holds it."""

    title: str
    verbs: Mapping[str, str]


class Verb(TyperCommand):
    """A command whose docstring may end with `For example:` and lines shown as they are."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the explanation without its examples."""
        whole = self.help
        self.help = (whole or "").partition(EXAMPLES)[0].strip()
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = whole

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the verb: `ID` where one is needed, `[ID]` where it may be left."""
        return [
            piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; an argument is named without its Python type."""
        found: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                name, text = record
                shown = name.partition(" <")[0] if param.param_type_name == "argument" else name
                found[param.param_type_name].append((shown, text))
        for title, rows in found.items():
            if rows:
                with formatter.section(f"{title.capitalize()}s"):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the examples verbatim, for copying."""
        examples = inspect.cleandoc((self.help or "").partition(EXAMPLES)[2])
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    formatter.write(f"  {line.strip()}\n")


class Subcommands(TyperGroup):
    """A group that answers an unknown name with the nearest known one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command named by the first argument; raise InputError with advice."""
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            _unknown(args[0], self.list_commands(ctx), ctx.command_path)
        return super().resolve_command(ctx, args)


class VerbGroup(Subcommands):
    """The root: built-in verbs by section, then the verbs of installed generators."""

    sections: tuple[Section, ...] = ()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Name all verbs, without loading any."""
        builtin = [name for section in self.sections for name in section.verbs]
        return builtin + [name for name in _plugins() if name not in builtin]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Load one verb; None when there is no such verb.

        Raises MissingExtraError when a generator's verb cannot be imported.
        """
        for section in self.sections:
            if cmd_name in section.verbs:
                module, _, attribute = section.verbs[cmd_name].partition(":")
                return build(cmd_name, getattr(importlib.import_module(module), attribute))
        return _load_plugin(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs under their sections, one line each."""
        builtin = {name for section in self.sections for name in section.verbs}
        brought = [name for name in self.list_commands(ctx) if name not in builtin]
        groups = [(section.title, list(section.verbs)) for section in self.sections]
        widest = max(len(name) for name in (*builtin, *brought))
        for title, names in (*groups, (PLUGIN_SECTION, brought)):
            if names:
                rows = [(f"{name:<{widest}}", self._summary(ctx, name)) for name in names]
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _summary(self, ctx: Any, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except GenopsError as error:
            return f"({error.message})"
        return (command.help or "").partition("\n")[0] if command else ""


def subcommands(summary: str) -> typer.Typer:
    """Make a verb with verbs of its own, such as `log head`."""
    app = typer.Typer(
        cls=Subcommands, help=summary, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_nothing)
    return app


def build(name: str, target: Callable[..., Any] | typer.Typer) -> Any:
    """Make the command of one verb from its function or its group."""
    if isinstance(target, typer.Typer):
        group = typer.main.get_group(target)
        group.name = name
        return group
    holder = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    holder.command(name, cls=Verb)(target)
    return typer.main.get_command(holder)


def _nothing() -> None:
    """Do nothing: a group needs a callback of its own."""


def _plugins() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in sorted(entry_points(group=PLUGIN_GROUP))}


def _load_plugin(name: str) -> Any:
    entry = _plugins().get(name)
    if entry is None:
        if name in KNOWN_PLUGINS:
            raise _missing(name, "the generators")
        return None
    try:
        return build(name, entry.load())
    except ImportError as error:
        raise _missing(name, error.name or entry.value) from error
    except Exception as error:  # a stranger's code: whatever it does, the other verbs stay usable
        raise GenopsError(
            f"`{name}` does not load from {entry.value}: {type(error).__name__}: {error}",
            code="install.broken-plugin",
            hint="report it to whoever made the plug-in; GENOPS_DEBUG=1 shows where",
        ) from error


def _missing(verb: str, what: str) -> MissingExtraError:
    return MissingExtraError(
        f"`{verb}` needs {what}, which is not installed",
        hint="pip install 'genops-registry[generate]'",
    )


def _unknown(name: str, known: list[str], path: str) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean `{path} {near[0]}`?" if near else f"`{path} --help` lists them"
    raise InputError(f"{path} has no verb {name!r}", code="usage.verb", hint=advice)

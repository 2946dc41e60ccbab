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
KNOWN_PLUGINS = ("generate", "train-lora", "demo", "write", "hosted", "comfyui", "campaign")


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


class DefaultGroup(Subcommands):
    """A verb that works by itself and has verbs of its own: `reproduce ID`, `reproduce audit`.

    `default` is the verb by itself; its help is the group's, with the others listed. `routes` are
    options that stand for one of the others, where none is named: `--campaign` for `audit`.
    """

    default: Any = None
    routes: Mapping[str, str] = {}

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Hand the words to the verb that they are for."""
        if not args and extra.get("resilient_parsing"):  # a shell asks what may follow
            return super().make_context(info_name, args, parent, **extra)
        if args and (args[0] in self.commands or args[0] in {"--help", "-h"}):
            return super().make_context(info_name, args, parent, **extra)
        options = [word.partition("=")[0] for word in args]
        named = next((self.routes[word] for word in options if word in self.routes), None)
        if named is not None:
            return super().make_context(info_name, [named, *args], parent, **extra)
        return self.default.make_context(info_name, args, parent, **extra)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the verb by itself, and the others under it."""
        alone = self.alone(ctx)
        self.default.format_usage(alone, formatter)
        self.default.format_help_text(alone, formatter)
        self.default.format_options(alone, formatter)
        self.format_commands(ctx, formatter)
        self.default.format_epilog(alone, formatter)

    def alone(self, ctx: Any) -> Any:
        """Return the context of the verb by itself, called as the group is."""
        return self.default.context_class(
            self.default, info_name=ctx.info_name, parent=ctx.parent, resilient_parsing=True
        )

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the names of verbs, and what the verb by itself takes."""
        others = [self.commands[name] for name in dict.fromkeys(self.routes.values())]
        found = super().shell_complete(ctx, incomplete)
        known = {item.value for item in found}
        for command in (self.default, *others):
            inner = command.context_class(command, info_name=ctx.info_name, parent=ctx.parent)
            more = command.shell_complete(inner, incomplete)
            found += [item for item in more if item.value not in known]
            known |= {item.value for item in more}
        return found


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


def with_default(
    name: str, alone: Callable[..., Any], routes: Mapping[str, str] | None = None
) -> typer.Typer:
    """Make a verb that works by itself and has verbs of its own; see `DefaultGroup`."""
    held = {"default": build(name, alone), "routes": routes or {}}
    summary = (alone.__doc__ or "").partition("\n")[0]
    app = typer.Typer(
        cls=type("WithDefault", (DefaultGroup,), held),
        help=summary,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
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

"""The reference of all verbs in docs/cli.md, written from the commands themselves.

`python -m registry.cli.reference docs/cli.md` renews what lies between the two markers; a test
holds the committed page to this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.cli.frame import EXAMPLES
from registry.cli.main import SECTIONS, command

BEGIN = "<!-- verbs: written by `python -m registry.cli.reference docs/cli.md` -->"
END = "<!-- end of verbs -->"


def renewed(page: str) -> str:
    """Return a page with the part between the markers written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{verbs()}\n{END}{after}"


def verbs() -> str:
    """Return every verb that this distribution has built in, by section, in Markdown."""
    root = command()
    context = root.context_class(root, info_name="genops")
    parts: list[str] = []
    for section in SECTIONS:
        parts.append(f"### {section.title}\n")
        for name in section.verbs:
            parts += _verb(root.get_command(context, name), context, f"genops {name}")
    return "\n".join(parts)


def _verb(found: Any, context: Any, path: str) -> Iterator[str]:
    own = found.context_class(found, info_name=path.rpartition(" ")[2], parent=context)
    inner = getattr(found, "commands", None)
    alone = getattr(found, "default", None)
    if alone is not None:
        yield from _verb(alone, context, path)
        for name, sub in found.commands.items():
            yield from _verb(sub, own, f"{path} {name}")
        return
    text, _, examples = (found.help or "").partition(EXAMPLES)
    if inner:
        yield f"#### `{path}`\n\n{text.strip()}\n"
        for name, sub in inner.items():
            yield from _verb(sub, own, f"{path} {name}")
        return
    usage = " ".join(found.collect_usage_pieces(own))
    yield f"#### `{path} {usage}`\n\n{text.strip()}\n"
    yield from _options(found, own)
    if examples:
        lines = (line.strip() for line in examples.strip().splitlines())
        yield "```sh\n" + "\n".join(lines) + "\n```\n"


def _options(found: Any, context: Any) -> Iterator[str]:
    rows = []
    for param in found.params:
        record = param.get_help_record(context)
        if record is not None and not {"--home", "--json"} & set(param.opts):
            name, help_text = record
            shown = name.partition(" <")[0] if param.param_type_name == "argument" else name
            rows.append(f"- `{shown}`: {help_text}")
    if rows:
        yield "\n".join(rows) + "\n"


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.write_text(renewed(where.read_text("utf-8")), "utf-8")

"""Lists: assets, matches, the lineage graph, the blast radius and models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from registry.cli.answers import ModelView
from registry.cli.render.parts import BAD, QUIET, WARN, heading, lines, literal, table
from registry.cli.text import plural, short, when
from registry.core.answers import AssetSummary, Impact, Lineage, LineageNode


def assets(rows: Sequence[AssetSummary]) -> RenderableType:
    """Return one line per output, newest first as they came."""
    if not rows:
        return literal("no assets", QUIET)
    heads = ("id", "kind", "time", "project", "campaign", "size", "")
    return table(heads, map(_asset, rows), fold=(3, 4))


def _asset(row: AssetSummary) -> tuple[object, ...]:
    pixels = f"{row.width}x{row.height}" if row.width and row.height else None
    state = literal("TAINTED", BAD) if row.tainted else Text("")
    return short(row.id), row.kind, when(row.time), row.project, row.campaign, pixels, state


def lineage(graph: Lineage) -> RenderableType:
    """Return the graph as an indented tree below its root; nothing is unfolded twice."""
    nodes = {node.node: node for node in graph.nodes}
    roots = [node for node in graph.nodes if node.depth == 0]
    parts: list[RenderableType] = [literal(graph.root, "bold")]
    if graph.direction in {"up", "both"}:
        parents = _neighbours([(edge.child, edge.parent, edge.name) for edge in graph.edges])
        parts += [heading("Made from"), *_walk(roots, nodes, parents)]
    if graph.direction in {"down", "both"}:
        children = _neighbours([(edge.parent, edge.child, edge.name) for edge in graph.edges])
        parts += [heading("Went into"), *_walk(roots, nodes, children)]
    if not graph.complete:
        parts.append(literal("… cut at --depth; there is more", QUIET))
    return lines(*parts)


Neighbours = Mapping[int, Sequence[tuple[int, str]]]


def _neighbours(edges: Sequence[tuple[int, int, str]]) -> Neighbours:
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for near, far, name in edges:
        found[near].append((far, name))
    return found


def _walk(
    roots: Sequence[LineageNode], nodes: Mapping[int, LineageNode], next_to: Neighbours
) -> list[Text]:
    """Return one indented line per node, depth first, without recursion."""
    drawn: list[Text] = []
    seen = {root.node for root in roots}
    stack = [(far, name, 1) for root in roots for far, name in next_to.get(root.node, ())][::-1]
    while stack:
        number, name, level = stack.pop()
        known = number in seen
        seen.add(number)
        drawn.append(_node(nodes[number], name, level, known))
        if not known:
            stack += [(far, via, level + 1) for far, via in next_to.get(number, ())][::-1]
    return drawn or [literal("  nothing", QUIET)]


def _node(node: LineageNode, name: str, level: int, known: bool) -> Text:
    text = literal(f"{'  ' * level}{short(node.id)}  {node.kind}  {name or node.name}")
    if node.hands:
        text.append(f"  by hand: {', '.join(node.hands)}")
    if node.tainted:
        text.append("  TAINTED", style=BAD)
    if known:
        text.append("  (see above)", style=QUIET)
    return text


def impact(radius: Impact) -> RenderableType:
    """Return how far something reaches, and the page of assets."""
    name = f"{radius.name}  " if radius.name else ""
    head = f"{plural(radius.count, 'output')} derived from {name}{short(radius.target)}"
    return lines(
        literal(head, "bold"),
        *_counts("By project", radius.by_project),
        *_counts("By campaign", radius.by_campaign),
        Text(""),
        assets(radius.assets),
        _rest(radius),
    )


def _counts(title: str, counts: Mapping[str, int]) -> list[RenderableType]:
    if not any(counts):  # nothing has a name
        return []
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        heading(title),
        table(("", ""), [(f"{n:,}", name or "-") for name, n in rows], indent=2),
    ]


def _rest(radius: Impact) -> Text | None:
    left = radius.count - len(radius.assets)
    return literal(f"… {left:,} are on other pages: --offset, --limit", QUIET) if left > 0 else None


def models(rows: Sequence[ModelView]) -> RenderableType:
    """Return the declared models and LoRAs."""
    if not rows:
        return literal("no models are declared; `genops catalog add-model` declares one", QUIET)
    heads = ("id", "name", "kind", "licence", "approved", "record")
    return table(heads, map(_model, rows), fold=(1, 3))


def _model(row: ModelView) -> tuple[object, ...]:
    approved = "yes" if row.approved else literal("no", WARN)
    return short(row.id), row.name, row.kind, row.licence, approved, short(row.record)

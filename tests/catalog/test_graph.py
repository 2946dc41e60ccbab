"""The closure that is kept at write time equals what a walk over the edges finds."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select
from sqlmodel import SQLModel

from registry.catalog.graph import CLOSURE, EDGES, NODES, GraphWriter
from registry.catalog.lineage import subgraph

DIGESTS = 6
Step = tuple[int, frozenset[int], bool]
steps = st.lists(
    st.tuples(
        st.integers(0, DIGESTS - 1),
        st.frozensets(st.integers(0, DIGESTS - 1), max_size=3),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def digest(number: int) -> bytes:
    return bytes([number]) * 32


def material(number: int, output_of: str | None = None) -> dict[str, object]:
    return {
        "name": f"m{number}",
        "kind": "image",
        "sha256": digest(number),
        "uri": "",
        "storage": "vaulted",
        "output_of": output_of,
    }


def write(conn: Connection, history: list[Step]) -> None:
    """Record a history of outputs, some sharing a batch with the one before."""
    writer: GraphWriter | None = None
    everything = [digest(n) for n in range(DIGESTS)]
    for index, (output, parents, same_batch) in enumerate(history):
        if writer is None or not same_batch:
            if writer is not None:
                writer.flush()
            writer = GraphWriter(conn, everything)
        writer.add_output(
            record_idx=index,
            position=0,
            record_hash=index.to_bytes(32, "big"),
            sha256=digest(output),
            kind="generated",
            name="out/0",
            materials=[material(parent) for parent in sorted(parents)],
        )
    assert writer is not None
    writer.flush()


def reachable(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return every (ancestor, descendant) pair by walking the edges."""
    children = defaultdict(set)
    for child, parent in edges:
        children[parent].add(child)
    pairs = set()
    for start in list(children):
        seen: set[int] = set()
        todo = [start]
        while todo:
            for child in children[todo.pop()] - seen:
                seen.add(child)
                todo.append(child)
        pairs |= {(start, node) for node in seen}
    return pairs


@settings(max_examples=150, deadline=None)
@given(steps)
def test_closure_equals_a_walk_over_the_edges(history: list[Step]) -> None:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[NODES, EDGES, CLOSURE, *_records()])
    with engine.begin() as conn:
        write(conn, history)
        edges = {(row.child, row.parent) for row in conn.execute(select(EDGES))}
        closure = {(row.ancestor, row.descendant) for row in conn.execute(select(CLOSURE))}
    assert closure == reachable(edges)
    assert all(ancestor != descendant for ancestor, descendant in closure)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_a_subgraph_without_depth_holds_every_relative(history: list[Step]) -> None:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[NODES, EDGES, CLOSURE, *_records()])
    with engine.begin() as conn:
        write(conn, history)
        edges = {(row.child, row.parent) for row in conn.execute(select(EDGES))}
        pairs = reachable(edges)
        root = conn.scalar(select(NODES.c.id).order_by(NODES.c.id.desc()))
        assert root is not None
        found = subgraph(conn, [root], up=True, down=True, depth=None, most=1000)
    relatives = {a for a, d in pairs if d == root} | {d for a, d in pairs if a == root}
    assert {row["id"] for row in found.nodes} == relatives | {root}
    assert found.complete
    assert {(child, parent) for child, parent, _ in found.edges} <= edges


def _records() -> list[object]:
    from registry.catalog.graph import RECORDS

    return [RECORDS]


def test_a_material_recorded_later_hands_its_ancestors_down() -> None:
    """A LoRA's training record may come after the pictures that were made with it."""
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[NODES, EDGES, CLOSURE, *_records()])
    picture, lora, training = 1, 2, 3
    with engine.begin() as conn:
        write(conn, [(picture, frozenset({lora}), False), (lora, frozenset({training}), False)])
        query = select(NODES.c.id, NODES.c.sha256, NODES.c.record_idx)
        ids = {(row.sha256, row.record_idx): row.id for row in conn.execute(query)}
        pairs = {(row.ancestor, row.descendant) for row in conn.execute(select(CLOSURE))}
    assert (ids[digest(training), None], ids[digest(picture), 0]) in pairs

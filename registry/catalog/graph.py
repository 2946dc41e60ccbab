"""The lineage graph at write time: nodes, edges and the closure, with integer keys.

An output is a node of its own (record, subject), a material is a node by its digest. A material
that the registry made itself is the node of that output, so that taint flows through. Buffers
rows and writes them in bulk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, insert, literal, select

from registry.store.bulk import insert_rows
from registry.store.catalog_tables import ClosureRow, EdgeRow, NodeRow, RecordRow
from registry.store.types import table_of

NODES = table_of(NodeRow)
EDGES = table_of(EdgeRow)
CLOSURE = table_of(ClosureRow)
RECORDS = table_of(RecordRow)

_CHUNK = 500  # below the parameter limit of every database
_WANTED: BindParameter[Any] = bindparam("wanted", expanding=True)
_LAST = select(func.max(NODES.c.id))
_BY_DIGEST = (
    select(NODES.c.id, NODES.c.sha256, NODES.c.record_idx, RECORDS.c.leaf_hash)
    .select_from(NODES.outerjoin(RECORDS, RECORDS.c.idx == NODES.c.record_idx))
    .where(NODES.c.sha256.in_(_WANTED))
    .order_by(NODES.c.id)
)
_ANCESTORS = select(CLOSURE.c.descendant, CLOSURE.c.ancestor).where(
    CLOSURE.c.descendant.in_(_WANTED)
)


def chunked(values: Iterable[Any], size: int = _CHUNK) -> Iterable[list[Any]]:
    """Yield lists of at most `size` values."""
    items = list(values)
    for start in range(0, len(items), size):
        yield items[start : start + size]


class GraphWriter:
    """Adds outputs to the graph inside one transaction; call `flush` once at the end.

    `digests` are those of all outputs and materials of the batch: what is known of them is
    loaded at once.
    """

    def __init__(self, conn: Connection, digests: Iterable[bytes]) -> None:
        self._conn = conn
        self._next = (conn.scalar(_LAST) or 0) + 1
        self._materials: dict[bytes, int] = {}
        self._outputs: dict[bytes, list[tuple[int, bytes | None]]] = defaultdict(list)
        self._ancestors: dict[int, set[int]] = {}
        self._nodes: list[dict[str, Any]] = []
        self._edges: dict[tuple[int, int], str] = {}
        self._closure: list[dict[str, int]] = []
        self._load(set(digests))

    def add_output(
        self,
        *,
        record_idx: int,
        position: int,
        record_hash: bytes,
        sha256: bytes,
        kind: str,
        name: str,
        materials: Sequence[Mapping[str, Any]],
    ) -> int:
        """Add one output with its edges and closure; return its node id."""
        parents = {p: m["name"] for m in materials for p in self._parents_of(m)}
        node = self._add_node(
            kind=kind, sha256=sha256, name=name, record_idx=record_idx, position=position
        )
        for parent, label in parents.items():
            self._edges[node, parent] = label
        ancestors = set(parents).union(*(self._ancestors_of(p) for p in parents))
        self._ancestors[node] = ancestors
        self._closure += [{"ancestor": a, "descendant": node} for a in sorted(ancestors)]
        self._outputs[sha256].append((node, record_hash))
        self._join_material(node, sha256)
        return node

    def flush(self) -> None:
        """Write what is buffered."""
        insert_rows(self._conn, NODES, self._nodes)
        edges = [{"child": c, "parent": p, "name": n} for (c, p), n in self._edges.items()]
        insert_rows(self._conn, EDGES, edges)
        insert_rows(self._conn, CLOSURE, self._closure)
        self._nodes, self._edges, self._closure = [], {}, []

    def _load(self, digests: set[bytes]) -> None:
        """Find the nodes that already stand for the given digests, and what they are made of."""
        for chunk in chunked(digests):
            for node, sha256, record_idx, record_hash in self._read(_BY_DIGEST, chunk):
                self._ancestors[node] = set()
                if record_idx is None:
                    self._materials[sha256] = node
                else:
                    self._outputs[sha256].append((node, record_hash))
        for chunk in chunked(self._ancestors):
            for node, ancestor in self._read(_ANCESTORS, chunk):
                self._ancestors[node].add(ancestor)

    def _read(self, query: Select[Any], wanted: Sequence[Any]) -> Iterable[Any]:
        return self._conn.execute(query, {"wanted": wanted})

    def _parents_of(self, material: Mapping[str, Any]) -> list[int]:
        """Return the nodes that a material is: known outputs, else one node by digest."""
        outputs = self._outputs.get(material["sha256"])
        if not outputs:
            return [self._material_node(material)]
        named = material["output_of"]
        if named is not None:
            wanted = bytes.fromhex(named.removeprefix("rec:"))
            exact = [node for node, record_hash in outputs if record_hash == wanted]
            if exact:
                return exact
        return [node for node, _ in outputs]

    def _material_node(self, material: Mapping[str, Any]) -> int:
        sha256 = material["sha256"]
        if sha256 not in self._materials:
            self._materials[sha256] = self._add_node(
                kind=material["kind"],
                sha256=sha256,
                name=material["name"],
                uri=material["uri"],
                storage=material["storage"],
            )
        return self._materials[sha256]

    def _add_node(
        self,
        *,
        kind: str,
        sha256: bytes,
        name: str,
        uri: str = "",
        storage: str = "vaulted",
        record_idx: int | None = None,
        position: int | None = None,
    ) -> int:
        node = self._next
        self._next += 1
        self._ancestors[node] = set()
        self._nodes.append(
            {
                "id": node,
                "kind": kind,
                "sha256": sha256,
                "name": name,
                "uri": uri,
                "storage": storage,
                "record_idx": record_idx,
                "position": position,
            }
        )
        return node

    def _ancestors_of(self, node: int) -> set[int]:
        if node not in self._ancestors:
            self._ancestors[node] = {above for _, above in self._read(_ANCESTORS, [node])}
        return self._ancestors[node]

    def _join_material(self, output: int, sha256: bytes) -> None:
        """Tie an output to the material node that others used before it was recorded."""
        material = self._materials.get(sha256)
        if material is None or material in self._ancestors[output]:
            return
        self._edges[material, output] = "recorded-as"
        self.flush()
        above = {output, *self._ancestors[output]}
        for ancestor in sorted(above):
            self._extend(ancestor, material)
        self._ancestors.clear()

    def _extend(self, ancestor: int, material: int) -> None:
        """Make `ancestor` an ancestor of a material and of all that was made from it."""
        known = select(CLOSURE.c.descendant).where(CLOSURE.c.ancestor == ancestor)
        below = select(literal(ancestor), CLOSURE.c.descendant).where(
            CLOSURE.c.ancestor == material,
            CLOSURE.c.descendant != ancestor,
            CLOSURE.c.descendant.not_in(known),
        )
        self._conn.execute(insert(CLOSURE).from_select(["ancestor", "descendant"], below))
        present = select(CLOSURE.c.ancestor).where(
            CLOSURE.c.ancestor == ancestor, CLOSURE.c.descendant == material
        )
        if self._conn.execute(present).first() is None:
            row = {"ancestor": ancestor, "descendant": material}
            insert_rows(self._conn, CLOSURE, [row])

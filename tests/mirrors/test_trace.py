from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.core.entries import LogEntry
from registry.mirrors.contract import MirrorRecord
from registry.mirrors.trace import (
    MAX_TAG_CHARS,
    TAG_HEAD,
    Group,
    group_of,
    is_mirrored,
    joined,
    trace_copy,
    trace_id,
)

MakeRecord = Callable[..., MirrorRecord]


def test_trace_id_is_derived_from_the_leaf_hash(make_record: MakeRecord) -> None:
    record = make_record(3)
    leaf = LogEntry.parse(record.entry).leaf_hash()
    expected = hashlib.sha256(leaf).digest()
    copy = trace_copy(record)
    assert copy.mlflow_id == "tr-" + expected[:16].hex()
    assert copy.span_id == expected[16:24]
    assert trace_id(record.record_id) == copy.trace_id


def test_a_trace_is_a_pure_function_of_its_record(make_record: MakeRecord) -> None:
    record = make_record(3)
    assert trace_copy(record) == trace_copy(record)
    assert trace_copy(record).trace_id != trace_copy(make_record(4)).trace_id


def test_envelope_and_entry_are_carried_as_logged(make_record: MakeRecord) -> None:
    record = make_record(1)
    attributes = trace_copy(record).attributes
    assert attributes["genops.envelope"].encode() == record.envelope
    assert attributes["genops.entry"].encode() == record.entry


def test_tags_name_what_people_search_for(make_record: MakeRecord) -> None:
    record = make_record(1, loras=("lora/brand", "lora/style"))
    copy = trace_copy(record)
    assert copy.name == "diffusers"
    assert copy.tags["genops.record"] == record.record_id
    assert copy.tags["genops.project"] == "acme"
    assert copy.tags["genops.campaign"] == "spring"
    assert copy.tags["genops.reproducible"] == "true"
    assert copy.tags["genops.asset"] == f"sha256:{record.statement.subjects[0].sha256}"
    names = [item.partition("@")[0] for item in copy.tags["genops.lora"].split()]
    assert names == ["lora/brand", "lora/style"]
    assert copy.tags["genops.model"].startswith("model/base@sha256:")


def test_absent_things_have_no_tag(make_record: MakeRecord) -> None:
    tags = trace_copy(make_record(1, campaign=None, loras=())).tags
    assert "genops.campaign" not in tags
    assert "genops.lora" not in tags


def test_long_lists_are_cut_between_items(make_record: MakeRecord) -> None:
    record = make_record(1, outputs=200)
    copy = trace_copy(record)
    listed = copy.tags["genops.asset"].split()
    assert len(copy.tags["genops.asset"]) <= MAX_TAG_CHARS
    assert listed == copy.attributes["mlflow.spanOutputs"][: len(listed)]
    assert len(copy.attributes["mlflow.spanOutputs"]) == 200
    assert joined(["x" * (MAX_TAG_CHARS + 1), "y"]) == ""
    assert joined(["x" * MAX_TAG_CHARS]) == "x" * MAX_TAG_CHARS


@pytest.mark.parametrize("times", [(0, 5), (9, 8), (253_402_300_799_998, 253_402_300_799_999)])
def test_impossible_claimed_times_give_way_to_log_time(
    make_record: MakeRecord, times: tuple[int, int]
) -> None:
    record = make_record(1, times_ms=times)
    copy = trace_copy(record)
    assert copy.start_ns == copy.end_ns == record.time_ms * 1_000_000


def test_only_generations_become_traces(
    make_record: MakeRecord, taint_record: MirrorRecord
) -> None:
    assert is_mirrored(make_record(1))
    assert not is_mirrored(taint_record)


def test_campaigns_of_two_projects_have_different_keys(make_record: MakeRecord) -> None:
    assert group_of(make_record(1)) == Group("acme", "spring")
    keys = {Group(*pair).key for pair in [("a", "b"), ("a", None), ("ab", ""), ("", "ab")]}
    assert len(keys) == 4


def test_every_tag_and_attribute_of_ours_is_documented(make_record: MakeRecord) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "mlflow.md").read_text("utf-8")
    copy = trace_copy(make_record(1))
    ours = [key for key in (*copy.tags, *copy.attributes) if key.startswith(TAG_HEAD)]
    assert len(ours) > 8
    assert [key for key in ours if f"`{key}`" not in guide] == []

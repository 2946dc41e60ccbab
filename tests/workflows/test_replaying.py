"""The replay process: what it is told, what it answers, and what it must not inherit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.errors import GenopsError, MissingExtraError, revive
from registry.workflows.replaying import RESULT, load_adapter
from registry.workflows.reproduce import _environ

BUILD = "https://w3id.org/genops/build/callable/v1"


def statement(**variables: str) -> dict[str, Any]:
    internal = {"environment": {"variables": variables}}
    definition = {"buildType": BUILD, "externalParameters": {}, "internalParameters": internal}
    return {"predicate": {"buildDefinition": definition}}


def test_a_replay_inherits_no_secret_and_only_the_recorded_numeric_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENOPS_PASSPHRASE", "correct horse")
    monkeypatch.setenv("GENOPS_API_TOKEN", "token")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    environ = _environ(statement(OMP_NUM_THREADS="1", LD_PRELOAD="/evil.so", PATH="/evil"))
    assert environ["OMP_NUM_THREADS"] == "1"
    assert not {"GENOPS_PASSPHRASE", "GENOPS_API_TOKEN", "ONEDNN_MAX_CPU_ISA"} & environ.keys()
    assert environ.get("LD_PRELOAD") != "/evil.so"
    assert environ["PATH"] != "/evil"


def test_an_unknown_build_type_is_named() -> None:
    with pytest.raises(MissingExtraError) as caught:
        load_adapter("https://example.org/build/unknown/v1")
    assert caught.value.code == "replay.no-adapter"


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from registry.workflows.replaying import main
main(sys.argv[1:])
"""


def test_a_missing_library_is_an_answer_and_not_a_traceback(tmp_path: Path) -> None:
    document = statement()
    document["predicate"]["buildDefinition"]["buildType"] = BUILD.replace("callable", "diffusers")
    job = {"statement": document, "materials": {}, "overrides": {}}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    error = revive(json.loads((tmp_path / RESULT).read_text())["error"])
    assert isinstance(error, GenopsError)
    assert error.code == "install.missing-extra"
    assert "torch" in error.message

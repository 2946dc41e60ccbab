"""The interface's documentation leaves nothing out."""

from __future__ import annotations

from pathlib import Path

from registry.web.errors import STATUS_BY_CODE

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_route_is_documented(visitor):
    text = DOCS.read_text("utf-8")
    for path, methods in visitor.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text, f"{method} {path}"


def test_every_query_parameter_is_documented(visitor):
    text = DOCS.read_text("utf-8")
    for path, methods in visitor.get("/openapi.json").json()["paths"].items():
        line = next((row for row in text.splitlines() if f" {path}` |" in row), "")
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    assert f"`{parameter['name']}" in line, f"{path}: {parameter['name']}"


def test_every_code_with_a_status_of_its_own_stands_beside_it():
    rows = [row for row in DOCS.read_text("utf-8").splitlines() if row.startswith("| ")]
    for code, status in STATUS_BY_CODE.items():
        assert any(f"| {status} |" in row and f"`{code}`" in row for row in rows), code

"""Lints policy bundles and runs their test cases; needs no registry."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

from registry.cli.answers import PolicyLint, PolicyTest, RuleCoverageView
from registry.core.answers import Check
from registry.errors import HomeError
from registry.policy.cases import load_cases, run_cases
from registry.policy.loader import load_bundle
from registry.resources import policy_dir, schema_set
from registry.settings import default_home, is_url, load_settings


def lint_bundle(named: str | None, home: str | None) -> PolicyLint:
    """Load a bundle, which lints it; raises PolicyError with line and caret where it is wrong."""
    bundle = load_bundle(_folder(named, home), schema_set())
    return PolicyLint(
        bundle.name, str(bundle.version), f"sha256:{bundle.digest}", len(bundle.rules)
    )


def run_bundle_cases(named: str | None, home: str | None) -> PolicyTest:
    """Run a bundle's cases; every rule must be seen passing and failing in them."""
    folder = _folder(named, home)
    bundle = load_bundle(folder, schema_set())
    report = run_cases(bundle, load_cases(folder, schema_set()))
    return PolicyTest(
        policy=bundle.name,
        ok=report.ok,
        cases=tuple(Check(c.name, c.ok, "; ".join(c.problems)) for c in report.cases),
        coverage=tuple(RuleCoverageView(r.rule, r.passed, r.failed, r.ok) for r in report.coverage),
    )


def _folder(named: str | None, home: str | None) -> Traversable:
    """Return the folder of a bundle: a path with a policy.yaml, or a shipped bundle's name."""
    chosen = named or _policy_of(home)
    return Path(chosen) if (Path(chosen) / "policy.yaml").is_file() else policy_dir(chosen)


def _policy_of(home: str | None) -> str:
    """Return the policy that a home names for itself; without a home, the default one."""
    where = home or default_home()
    if is_url(where):
        return "default"
    try:
        return load_settings(where).policy
    except HomeError:
        if home is not None:
            raise
        return "default"

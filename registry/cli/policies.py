"""Verbs on policy bundles: check that one is sound, and run its own test cases."""

from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json

policy = subcommands("Lint a policy bundle and run its test cases.")

Bundle = Annotated[
    str | None, typer.Argument(metavar="NAME|PATH", help="The policy bundle; else the home's own.")
]


@policy.command("lint", cls=Verb)
def lint(bundle: Bundle = None, home: Home = None, json: Json = False) -> None:
    """Check that a policy bundle parses and that its rules fit the facts they speak of.

    Ends with 2 when it does not, and shows where.

    For example:
      genops policy lint
      genops policy lint policies/campaign
    """
    from registry.cli.bundles import lint_bundle
    from registry.cli.output import emit
    from registry.cli.render.reports import policy_lint

    emit(lint_bundle(bundle, home), policy_lint, as_json=json)


@policy.command("test", cls=Verb)
def run_cases(bundle: Bundle = None, home: Home = None, json: Json = False) -> None:
    """Run the test cases that a policy bundle brings along.

    Ends with 1 when a case fails, or when a rule is not seen both passing and failing.

    For example:
      genops policy test
      genops policy test policies/campaign --json
    """
    from registry.cli.bundles import run_bundle_cases
    from registry.cli.output import emit
    from registry.cli.render.reports import policy_test

    report = run_bundle_cases(bundle, home)
    emit(report, policy_test, as_json=json)
    raise typer.Exit(0 if report.ok else 1)

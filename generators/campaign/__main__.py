"""`python -m generators.campaign --home HOME [BRIEF]`: the demo's models, and a brief."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from generators.campaign import DEMO_BRIEF, declare_demo_models, load_brief, run_campaign

if TYPE_CHECKING:
    from registry.core.answers import Receipt


def main(arguments: list[str] | None = None) -> int:
    """Run a brief against a registry home from the command line."""
    from generators.environment import prepare
    from registry.factory import open_home

    parser = argparse.ArgumentParser(description="Run a campaign brief through the wrapper.")
    parser.add_argument("--home", required=True, help="the registry's folder")
    parser.add_argument("brief", nargs="?", type=Path, default=DEMO_BRIEF)
    options = parser.parse_args(arguments)
    prepare()
    with open_home(options.home) as registry:
        declare_demo_models(registry)
        run_campaign(registry, load_brief(options.brief), _say)
    return 0


def _say(name: str, receipt: Receipt) -> None:
    sys.stdout.write(f"{name}: {receipt.assets[0]} (index {receipt.index})\n")


if __name__ == "__main__":
    sys.exit(main())

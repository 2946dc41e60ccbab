"""What the demo shows and what it claims: headings, facts, and checks that can fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.cli.answers import Claim, DemoReport

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(slots=True)
class Stage:
    """Prints as the demo goes, and remembers every claim; `quiet` prints nothing."""

    quiet: bool = False
    claims: list[Claim] = field(default_factory=list)
    _step: str = ""
    _console: Console | None = None

    @property
    def console(self) -> Console:
        """The console on standard output."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(quiet=self.quiet, highlight=False, markup=False, emoji=False)
        return self._console

    @property
    def holds(self) -> bool:
        """True when something was claimed and every claim held."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)

    def step(self, number: int, title: str) -> None:
        """Begin a step."""
        self._step = title
        self.console.print()
        self.console.rule(f"{number}  {title}", align="left", style="bold")

    def say(self, text: str, *, style: str = "") -> None:
        """Print a line of explanation."""
        self.console.print(f"   {text}", style=style, soft_wrap=True)

    def show(self, renderable: Any) -> None:
        """Print a table or another renderable, indented."""
        from rich.padding import Padding

        self.console.print(Padding(renderable, (0, 0, 0, 3)))

    def claim(self, text: str, *, holds: bool) -> None:
        """State something, and whether it was found to be so."""
        self.claims.append(Claim(self._step, text, holds))
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        self.console.print(f" {mark} {text}", style=style, soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show a spinner while something takes a while."""
        with self.console.status(f"{text} …"):
            yield

    def finish(self, *, as_json: bool) -> None:
        """Print the outcome."""
        failed = [claim for claim in self.claims if not claim.holds]
        if as_json:
            report = DemoReport(self.holds, tuple(self.claims))
            sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n")
            return
        self.console.print()
        if failed:
            self.console.print(f"{len(failed)} of {len(self.claims)} claims failed:", style="red")
            for claim in failed:
                self.console.print(f" ✗ {claim.step}: {claim.text}", style="red")
        else:
            self.console.print(f"All {len(self.claims)} claims hold.", style="bold green")

"""Lets `python -m registry.cli` run the command line."""

import sys

from registry.cli.main import run

sys.exit(run())

"""Lets `python -m registry.cli` run the command line."""

import sys

from registry.cli.main import main

sys.exit(main())

"""Keys: those that sign records and checkpoints, and those that sealed texts are encrypted with."""

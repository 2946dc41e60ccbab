"""Looking pictures up: decoding, fingerprints, the index over them, and `find`.

Knows the tables of outputs and fingerprints; nothing of the log, the vault or policies.
"""

"""The pure core: wire formats, digests, proofs and trust, over values alone.

Imports no os, clock, database or network, and nothing of the registry but its errors.
"""

"""Policies: what an asset must satisfy to be released, and the pure decision on it.

Takes facts and returns verdicts; knows nothing of registries, logs or files of assets.
"""

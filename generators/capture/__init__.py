"""From a live diffusers pipeline to plain values: components, adapters, origins, arguments.

Imports torch at once: only `generators.diffusers` reaches in here, and only with a pipeline.
"""

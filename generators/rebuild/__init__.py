"""From a record back to a running pipeline: the mirror image of `generators.capture`.

Loads safetensors from local folders, and classes of diffusers and transformers, alone: a record
cannot make it run other code. Imports torch at once; `generators.diffusers` reaches in when needed.
"""

"""What is recorded: pictures that compress like real ones, and generations around them."""

from __future__ import annotations

import hashlib
import io
import secrets

import numpy as np
from PIL import Image

from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.fingerprint import FingerprintValue
from registry.core.generation import Blob, Generation, Material, Output, Sealed
from registry.core.provenance import generation_payload, output_subject
from registry.log.submission import Submission
from registry.signing.sealing import KEY_BYTES, encrypt
from registry.similarity.fingerprints import PHASH256, pixels_digest
from registry.workflows.services import Services

PROMPT = "a red mug on a blue table, studio light, shallow depth of field"
BUILD_TYPE = "https://w3id.org/genops/build/callable/v1"


def picture(seed: int, side: int) -> Image.Image:
    """Return a picture with shapes at several scales and a little grain."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (side, side))
    for cells in (4, 8, 16):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        canvas = Image.blend(canvas, coarse.resize((side, side), Image.Resampling.BICUBIC), 0.5)
    grain = rng.integers(-2, 3, (side, side, 3), dtype=np.int16)
    noisy = np.clip(np.asarray(canvas, dtype=np.int16) + grain, 0, 255)
    return Image.fromarray(noisy.astype(np.uint8))


def encoded(image: Image.Image) -> bytes:
    """Return a picture as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def generation(seed: int, side: int) -> Generation:
    """Return a generation of one picture, as an adapter hands it over."""
    image = picture(seed, side)
    output = Output(
        data=encoded(image),
        media_type="image/png",
        seed=str(seed),
        width=side,
        height=side,
        pixels=pixels_digest(image),
    )
    return _described(output)


def submission(services: Services, number: int) -> Submission:
    """Return a submission, sealed and signed, of a generation whose blobs are already stored."""
    data = number.to_bytes(8, "big")
    output = Output(data=data, media_type="image/png", seed=str(number), width=64, height=64)
    blob = Blob(sha256_hex(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))
    subject = output_subject(0, output, blob.sha256, blob.size)
    head = services.head("bench")
    sealed = generation_payload(
        _described(output),
        [subject],
        project=head.project,
        actor=head.actor,
        invocation_id=head.invocation_id,
        salts=services.salt,
    )
    signer = services.signer("generator")
    signature = Signature(signer.keyid, signer.sign(pae(PAYLOAD_TYPE, sealed.payload)))
    key = secrets.token_bytes(KEY_BYTES)
    texts = b"".join(item.encode().encode("ascii") for item in sealed.disclosures)
    return Submission(
        envelope=Envelope(sealed.payload, (signature,)).to_bytes(),
        sealed=encrypt(key, texts, aad=sealed.payload_sha256),
        seal_key=key,
        blobs=(blob,),
        fingerprints=(FingerprintValue(blob.sha256, PHASH256, secrets.token_bytes(32), 100),),
    )


def _described(output: Output) -> Generation:
    return Generation(
        build_type=BUILD_TYPE,
        external={"prompt": Sealed(PROMPT), "steps": 30, "guidance_scale": "7.5"},
        internal={"dtype": "float32", "device": "cpu", "environment": {"torch": "2.6.0"}},
        materials=(_material("model/base", "model"), _material("lora/brand", "lora")),
        outputs=(output,),
        started_ms=1_790_000_000_000,
        finished_ms=1_790_000_004_000,
        builder_id="https://w3id.org/genops/builder/bench",
        campaign="bench",
    )


def _material(name: str, kind: str) -> Material:
    return Material(name, kind, sha256_hex(name.encode("ascii")), uri=f"https://example.com/{name}")

"""Every error the registry raises: one tree, a stable code each, and advice.

Errors never end the process; only the command line maps them to exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class GenopsError(Exception):
    """Base of all errors; carries a stable `code`, a one-line message and a `hint`.

    The message says what failed and where, the hint what to do about it.
    """

    code: str = "genops.error"
    exit_code: int = 2

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON-ready fields: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InputError(GenopsError):
    """A caller's value cannot be used as it is."""

    code = "input.invalid"


class FormatError(InputError):
    """Bytes do not follow the wire format that they claim to be."""

    code = "format.invalid"


class SchemaError(FormatError):
    """A document is well-formed but does not fit its JSON Schema."""

    code = "schema.invalid"


class NotFoundError(GenopsError):
    """Nothing on this registry answers to the id, prefix or file."""

    code = "ref.unknown"


class AmbiguousError(GenopsError):
    """A prefix answers to more than one thing; the message lists them."""

    code = "ref.ambiguous"


class HomeError(GenopsError):
    """A registry home is missing, foreign, from a newer version, or not writable."""

    code = "home.invalid"


class ConflictError(GenopsError):
    """The same invocation id was recorded before with another payload."""

    code = "record.conflict"


class HeldError(ConflictError):
    """A legal hold stands on what was to be erased."""

    code = "erase.held"
    exit_code = 1


class KeyFileError(GenopsError):
    """A private key cannot be loaded: missing, damaged, or the passphrase is wrong."""

    code = "key.unusable"


class TrustError(GenopsError):
    """A signer is unknown, outside its window, without the role, or did not sign this."""

    code = "trust.refused"
    exit_code = 1


class IntegrityError(GenopsError):
    """Stored bytes, a proof or a signature do not match what was committed to."""

    code = "integrity.mismatch"
    exit_code = 1


class RollbackError(IntegrityError):
    """The database is older than the newest checkpoint kept outside it.

    `heads` are the checkpoints that do not fit together: of each `where` it is from, `size`,
    `root` (hex) and `time` (RFC 3339, or None).
    """

    code = "log.rolled-back"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        heads: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.heads = tuple(dict(head) for head in heads)

    def to_dict(self) -> dict[str, Any]:
        """Return the error's fields, and the checkpoints where there are any."""
        return super().to_dict() | ({"checkpoints": list(self.heads)} if self.heads else {})


class StaleError(RollbackError):
    """Nothing is decided on a log that is known to have gone on elsewhere."""

    code = "gate.stale"
    exit_code = 2


class ErasedError(GenopsError):
    """The text was erased; its key is gone for good."""

    code = "text.erased"


class MaterialError(GenopsError):
    """A material that a replay needs is missing, altered or erased."""

    code = "material.unavailable"


class PolicyError(GenopsError):
    """A policy bundle does not parse, does not lint, or cannot be evaluated."""

    code = "policy.invalid"


class CaptureError(GenopsError):
    """A generation cannot be captured faithfully and strict capture was asked for."""

    code = "capture.refused"


class UnavailableError(GenopsError):
    """A registry, database or mirror cannot be reached now."""

    code = "registry.unreachable"
    exit_code = 3


class MissingExtraError(GenopsError):
    """A feature needs an optional part of the distribution that is not installed."""

    code = "install.missing-extra"


def revive(fields: dict[str, Any]) -> GenopsError:
    """Return the error that `to_dict` described elsewhere: same class, code, message and hint."""
    code = fields.get("code", GenopsError.code)
    head = code.split(".", 1)[0]
    kind = _BY_CODE.get(code) or _BY_AREA.get(head, GenopsError)
    if issubclass(kind, RollbackError):
        message, hint = fields.get("message", ""), fields.get("hint", "")
        return kind(message, code=code, hint=hint, heads=fields.get("checkpoints", ()))
    return kind(fields.get("message", ""), code=code, hint=fields.get("hint", ""))


def _tree(kind: type[GenopsError]) -> list[type[GenopsError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _tree(child))]


_BY_CODE = {kind.code: kind for kind in _tree(GenopsError)}
_BY_AREA = {kind.code.split(".", 1)[0]: kind for kind in reversed(_tree(GenopsError))}

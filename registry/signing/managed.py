"""Keys that never leave a device or service: HSMs over PKCS #11 and key management in clouds.

securesystemslib speaks to them; here their signatures become ours: P-256 over SHA-256 in DER, under
the key id that the log trusts. The public half is given, so that nothing is asked before signing.
"""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

from registry.core import dsse
from registry.errors import GenopsError, InputError, KeyFileError, MissingExtraError
from registry.signing.keys import KeyKind

SCHEMES = {
    "awskms": "kms",
    "azurekms": "kms",
    "file2": "kms",
    "gcpkms": "kms",
    "hsm": "hsm",
    "hv": "kms",
}
"""The schemes of key URIs that are taken, and the extra that each needs."""
P256_SCHEME = "ecdsa-sha2-nistp256"

_PIN_ERRORS = {"PinIncorrect", "PinInvalid", "PinLenRange", "PinExpired", "PinLocked"}


class ManagedSigner:
    """A P-256 key behind a URI of securesystemslib; opened when it first signs.

    One signature at a time: tokens take one log-in each. Never shown by `repr`: the PIN.
    """

    kind: KeyKind = "p256"

    def __init__(self, uri: str, public_pem: str, pin: str | None = None) -> None:
        """Raise InputError (`key.scheme`), FormatError (`key.invalid`) for another public key."""
        scheme = urlsplit(uri).scheme
        if scheme not in SCHEMES:
            raise InputError(
                f"no signer reads {scheme or 'such'}: keys",
                code="key.scheme",
                hint=f"the schemes are {', '.join(SCHEMES)}",
            )
        self.uri = uri
        self.spki_der = dsse.spki_from_pem(public_pem)
        self.keyid = dsse.keyid(self.spki_der)
        self._public_pem = dsse.spki_to_pem(self.spki_der)
        self._extra = SCHEMES[scheme]
        self._pin = pin
        self._lock = threading.Lock()
        self._opened: Any = None

    def __repr__(self) -> str:
        return f"ManagedSigner({self.kind} {self.keyid[:16]} at {self.uri})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message` in DER.

        Raises KeyFileError: `key.pin` (missing, wrong or locked), `key.module` (no PKCS #11
        library), `key.missing` (no such token or key), `key.mismatch` (another key than the public
        half), `key.unusable`; MissingExtraError.
        """
        with self._lock:
            sig = self._signed(message)
        if not dsse.verify_p256(self.spki_der, message, sig):
            raise KeyFileError(
                f"{self.uri} signs with another key than {self.keyid}",
                code="key.mismatch",
                hint="compare the public half in genops.toml with the key on the device",
            )
        return sig

    def _signed(self, message: bytes) -> bytes:
        try:
            if self._opened is None:
                self._opened = self._open()
            return bytes.fromhex(self._opened.sign(message).signature)
        except GenopsError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a device's library raises
            raise self._in_our_words(error) from None

    def _open(self) -> Any:
        try:
            from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
                load_pem_public_key,
            )
            from securesystemslib.signer import (  # noqa: PLC0415
                SIGNER_FOR_URI_SCHEME,
                SSlibKey,
            )
        except ImportError:
            raise self._missing_extra() from None
        public = load_pem_public_key(self._public_pem.encode("ascii"))
        key = SSlibKey.from_crypto(public, scheme=P256_SCHEME)
        kind = SIGNER_FOR_URI_SCHEME[urlsplit(self.uri).scheme]
        return kind.from_priv_key_uri(self.uri, key, self._tell_pin)

    def _tell_pin(self, _: str) -> str:
        if self._pin is None:
            raise KeyFileError(f"{self.uri} needs a PIN", code="key.pin", hint="set GENOPS_HSM_PIN")
        return self._pin

    def _in_our_words(self, error: Exception) -> GenopsError:
        """Return the error that a device's own one is told as; its text is never shown whole."""
        kind, text = type(error).__name__, str(error)
        if kind == "UnsupportedLibraryError":
            return self._missing_extra()
        if kind in _PIN_ERRORS:
            return KeyFileError(
                f"{self.uri} refuses the PIN ({kind})",
                code="key.pin",
                hint="set GENOPS_HSM_PIN; some tokens lock themselves after a few wrong ones",
            )
        if "PYKCS11LIB" in text or kind in {"PKCS11Error", "RuntimeError", "AlreadyInitialized"}:
            return KeyFileError(
                f"no PKCS #11 library answers for {self.uri}: {kind}",
                code="key.module",
                hint="set PYKCS11LIB to the path of the device's library",
            )
        if "could not find" in text or "No PKCS#11 token" in text or kind == "FileNotFoundError":
            return KeyFileError(
                f"there is no key at {self.uri}",
                code="key.missing",
                hint="plug the device in, or rotate the role to a key that is there",
            )
        return KeyFileError(
            f"cannot sign with {self.uri}: {kind}",
            hint="check the device or service, its credentials and its key's algorithm (P-256)",
        )

    def _missing_extra(self) -> MissingExtraError:
        return MissingExtraError(
            f"signing with {self.uri} needs libraries that are not installed",
            hint=f"pip install 'genops-registry[{self._extra}]'",
        )

"""Where a registry lives and how it behaves: the only reader of environment and TOML.

A home is one self-contained folder; every path in it follows from its root, so that a copy of the
folder works as well as the original. Must not open databases or keys.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry.errors import HomeError, InputError

HOME_VERSION = 1
CONFIG_NAME = "genops.toml"
DEFAULT_HOME = ".genops"


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of the registry, each with its unit."""

    text_bytes: int = 4 * 1024 * 1024
    """Longest single sealed text, UTF-8 bytes."""
    image_bytes: int = 256 * 1024 * 1024
    """Largest image file that is read."""
    image_pixels: int = 178_956_970
    """Most pixels of an image that is decoded (a bomb is refused by its header)."""
    blob_bytes: int = 64 * 1024 * 1024 * 1024
    """Largest blob that the vault takes."""
    outputs: int = 256
    """Most outputs of one generation; a longer list goes into a blob."""
    commit_batch: int = 512
    """Most submissions in one group commit."""
    lock_wait_s: float = 30.0
    """Longest wait for another process that is writing, seconds."""
    check_resume_s: float = 86400.0
    """Oldest interrupted check of the log that is continued, seconds since it began."""
    replay_s: float = 900.0
    """Longest run of a replay in its own process, seconds."""
    witness_wait_s: float = 30.0
    """Longest wait for another log or a witness to answer, seconds."""
    upload_bytes: int = 64 * 1024 * 1024
    """Largest upload that the service takes."""
    page_rows: int = 1000
    """Most rows of one page of a listing."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths inside a registry's folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The file that makes the folder a home: name, uuid, format version."""
        return self.root / CONFIG_NAME

    @property
    def database(self) -> Path:
        """The embedded database: log, projection and sidecars."""
        return self.root / "registry.db"

    @property
    def lock(self) -> Path:
        """The lock that lets one process at a time extend the log."""
        return self.root / "registry.lock"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint, kept outside the database to detect a roll-back."""
        return self.root / "checkpoint"

    @property
    def keys(self) -> Path:
        """Signing keys (PEM) and their public halves."""
        return self.root / "keys"

    @property
    def witnesses(self) -> Path:
        """Public keys (`*.vkey`) of the witnesses whose cosignatures count here."""
        return self.root / "witnesses"

    @property
    def witnessed(self) -> Path:
        """Public keys (`*.vkey`) of other logs that are followed, and what was last cosigned."""
        return self.root / "witnessed"

    @property
    def keyring(self) -> Path:
        """The database of the keys that sealed texts are encrypted with."""
        return self.root / "keyring.db"

    @property
    def retention(self) -> Path:
        """The rules that say how long texts are kept, where there are any."""
        return self.root / "retention.yaml"

    @property
    def vault(self) -> Path:
        """The content store, a DVC repository."""
        return self.root / "vault"

    @property
    def mlflow(self) -> Path:
        """The embedded MLflow database and artifacts."""
        return self.root / "mlflow"

    @property
    def work(self) -> Path:
        """Scratch space for replays; safe to delete while nothing runs."""
        return self.root / "work"


@dataclass(frozen=True, slots=True)
class SignerPlace:
    """Where a role's private key is kept, if not in the home: a URI, and its public half.

    `public_key` is the path of a PEM file, relative to the home.
    """

    uri: str
    public_key: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How one registry behaves; frozen once loaded.

    `name` and `uuid` form the log's origin `<name>/<uuid>`, fixed at init. `database_url` is None
    for the embedded database. `mlflow_uri` is None for the embedded MLflow database. `actor` is
    the name of the person or service on whose behalf records are made; it is always sealed.
    `signers` are the roles whose keys a device or service holds.
    """

    home: Home
    name: str
    uuid: str
    project: str = "default"
    database_url: str | None = None
    mlflow_uri: str | None = None
    policy: str = "default"
    actor: str = "unknown"
    passphrase: str | None = field(default=None, repr=False)
    hsm_pin: str | None = field(default=None, repr=False)
    api_token: str | None = field(default=None, repr=False)
    signers: Mapping[str, SignerPlace] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def origin(self) -> str:
        """The log's origin line (C2SP tlog-checkpoint)."""
        return f"{self.name}/{self.uuid}"


_CONFIG_KEYS = ("name", "uuid", "project", "database_url", "mlflow_uri", "policy")

_SIGNER_ROLES = ("generator", "policy", "reviewer", "admin")


def default_home(environ: Mapping[str, str] | None = None) -> str:
    """Return the home that is used when none is named: GENOPS_HOME or `.genops`."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_HOME") or DEFAULT_HOME


def is_url(home: str | Path) -> bool:
    """Tell whether a home is a served registry (http or https) and not a folder."""
    return urlsplit(str(home)).scheme in {"http", "https"}


def remote_token(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the token for a served registry, from GENOPS_API_TOKEN."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_API_TOKEN") or None


def given_passphrase(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the passphrase of the signing keys from GENOPS_PASSPHRASE, if it is set."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_PASSPHRASE") or None


def given_backup_passphrase(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the passphrase of backups: GENOPS_BACKUP_PASSPHRASE, else that of the keys."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_BACKUP_PASSPHRASE") or given_passphrase(env)


def given_new_passphrase(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the passphrase that keys are to get, from GENOPS_NEW_PASSPHRASE, if it is set."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_NEW_PASSPHRASE") or None


def given_database_url(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the database of a new home from GENOPS_DATABASE_URL, if it is set."""
    env = os.environ if environ is None else environ
    return env.get("GENOPS_DATABASE_URL") or None


def given_limits(environ: Mapping[str, str] | None = None) -> Limits:
    """Return the limits from GENOPS_LIMIT_<NAME> variables; raises InputError for no number."""
    return _limits(os.environ if environ is None else environ)


def default_actor(environ: Mapping[str, str] | None = None) -> str:
    """Return on whose behalf this process acts: GENOPS_ACTOR, the login name, or `unknown`."""
    env = os.environ if environ is None else environ
    try:
        return env.get("GENOPS_ACTOR") or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def cluster_address(kind: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the running cluster for bulk work on `ray` or `dask`, None to start one here.

    By those libraries' own variables: RAY_ADDRESS, DASK_SCHEDULER_ADDRESS. A Ray that is started
    here reports its use to nobody.
    """
    env = os.environ if environ is None else environ
    if kind == "ray":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        return env.get("RAY_ADDRESS") or None
    return env.get("DASK_SCHEDULER_ADDRESS") or None


def child_environ(without: tuple[str, ...], extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a child process.

    Variables that start with one of `without` are left out; those in `extra` are put in.
    """
    return {k: v for k, v in os.environ.items() if not k.startswith(without)} | dict(extra)


@contextmanager
def without_secrets() -> Iterator[None]:
    """Start other people's processes inside, which inherit the environment, without our variables.

    They are gone for this whole process meanwhile: for the start alone.
    """
    held = {name: value for name, value in os.environ.items() if name.startswith("GENOPS_")}
    for name in held:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(held)


def load_settings(root: str | Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of the home at `root`; environment wins over the file.

    Raises HomeError when the folder is not a home, or was made by a newer version.
    """
    env = os.environ if environ is None else environ
    home = Home(Path(root).expanduser().resolve())
    values = _read_config(home)
    overrides = {
        "database_url": env.get("GENOPS_DATABASE_URL"),
        "mlflow_uri": env.get("GENOPS_MLFLOW_URI"),
        "project": env.get("GENOPS_PROJECT"),
    }
    values |= {k: v for k, v in overrides.items() if v}
    return Settings(
        home=home,
        actor=default_actor(env),
        passphrase=given_passphrase(env),
        hsm_pin=env.get("GENOPS_HSM_PIN") or None,
        api_token=remote_token(env),
        limits=_limits(env),
        **values,
    )


def write_config(settings: Settings) -> str:
    """Return the text of `genops.toml` for a new home."""
    lines = [f"version = {HOME_VERSION}"]
    for key in _CONFIG_KEYS:
        value = getattr(settings, key)
        if value is not None:
            lines.append(f"{key} = {_toml_string(value)}")
    for role, place in settings.signers.items():
        lines += [
            "",
            f"[signers.{role}]",
            f"uri = {_toml_string(place.uri)}",
            f"public_key = {_toml_string(place.public_key)}",
        ]
    return "\n".join(lines) + "\n"


def _toml_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_config(home: Home) -> dict[str, Any]:
    try:
        document = tomllib.loads(home.config.read_text("utf-8"))
    except FileNotFoundError:
        raise HomeError(
            f"no registry at {home.root}",
            code="home.missing",
            hint="make one with `genops init`, or name another with --home or GENOPS_HOME",
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # not TOML, not UTF-8, nested too deeply
        raise HomeError(
            f"cannot read {home.config}: {error}",
            code="home.unreadable",
            hint="check the file's permissions and content",
        ) from error
    _check_version(home, document.pop("version", None))
    signers = _signers(home, document.pop("signers", {}))
    unknown = set(document) - set(_CONFIG_KEYS)
    missing = {"name", "uuid"} - set(document)
    if unknown or missing or not all(isinstance(v, str) for v in document.values()):
        wrong = ", ".join(sorted(unknown | missing)) or "a value that is no text"
        raise HomeError(f"{home.config} has unexpected or missing settings: {wrong}")
    return document | {"signers": signers}


def _signers(home: Home, table: Any) -> dict[str, SignerPlace]:
    """Read the table `signers`: for each role, where its key is kept."""
    wanted = {"uri", "public_key"}
    places = table.items() if isinstance(table, dict) else [("signers", table)]
    for role, place in places:
        texts = place.values() if isinstance(place, dict) and place.keys() == wanted else [None]
        if role not in _SIGNER_ROLES or not all(isinstance(text, str) and text for text in texts):
            raise HomeError(
                f"{home.config} does not say where the key of {role} is",
                hint="[signers.<role>] takes uri and public_key, as docs/keys.md shows",
            )
    return {role: SignerPlace(**place) for role, place in places}


def _check_version(home: Home, version: object) -> None:
    if not isinstance(version, int):
        raise HomeError(f"{home.config} names no version; this is not a registry home")
    if version > HOME_VERSION:
        raise HomeError(
            f"{home.root} was made by a newer version (home version {version}, "
            f"this program reads up to {HOME_VERSION})",
            code="home.newer",
            hint="upgrade genops-registry",
        )


def _limits(env: Mapping[str, str]) -> Limits:
    """Read limits from GENOPS_LIMIT_<NAME> variables."""
    values: dict[str, float] = {}
    for item in fields(Limits):
        text = env.get(f"GENOPS_LIMIT_{item.name.upper()}")
        if text is None:
            continue
        try:
            values[item.name] = int(text) if isinstance(item.default, int) else float(text)
        except ValueError:
            raise InputError(
                f"GENOPS_LIMIT_{item.name.upper()}={text!r} is not a number",
                code="settings.limit",
            ) from None
    return Limits(**values)  # type: ignore[arg-type]  # each value has its field's own type

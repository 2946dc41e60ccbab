"""A process that replays: started cold, kept warm, and started again when it dies.

Speaks with `registry.workflows.replaying` in lines of JSON. Opens no registry and judges nothing.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

from registry import errors
from registry.errors import GenopsError
from registry.workflows.replay.environs import replay_environ
from registry.workflows.replaying import Numerics

MODULE = "registry.workflows.replaying"
LAST_WORDS = 20
"""Lines of a process's standard error that are kept, to say why it died."""
GOODBYE_S = 5.0
"""How long an idle process may take to end after its input was closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One replay: an opened statement, its materials as files, and how to run it.

    `overrides` are changes on purpose; `workdir` is an empty folder that receives the outputs.
    With numerics `present` the process's own settings count, not those of the record.
    """

    statement: Mapping[str, Any]
    materials: Mapping[str, Path]
    workdir: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = "recorded"
    device: str | None = None

    def line(self) -> str:
        """Return the request as one line of JSON."""
        document = {
            "statement": self.statement,
            "materials": {name: str(path) for name, path in self.materials.items()},
            "overrides": dict(self.overrides),
            "workdir": str(self.workdir),
            "numerics": self.numerics,
            "device": self.device,
        }
        return json.dumps(document) + "\n"


@dataclass(frozen=True, slots=True)
class Output:
    """One output: a file in the work folder, and its pixel digest where it is a picture."""

    file: Path
    pixels: str | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay made, the environment it ran in, and how long the adapter took, seconds."""

    outputs: tuple[Output, ...]
    environment: Mapping[str, Any]
    seconds: float

    def output(self, position: int) -> Output:
        """Return the output of a subject; GenopsError when the replay made too few."""
        if position >= len(self.outputs):
            raise GenopsError(
                f"the replay made {len(self.outputs)} outputs, not {position + 1}",
                code="reproduce.outputs",
            )
        return self.outputs[position]


class ReplayWorker:
    """Replays one request after the other in a process of its own. For one thread at a time.

    The process starts with the first request and with the numeric variables of its record; it is
    replaced where a later record asks for others, after a time-out, and after it died. Used as a
    context manager; `close` ends the process.
    """

    def __init__(self, *, timeout_s: float, python: str = sys.executable) -> None:
        self.timeout_s = timeout_s
        self._python = python
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replay(self, request: Request) -> Replayed:
        """Run a request; a failure of it leaves the worker usable.

        Raises what the adapter raised (MaterialError, InputError, …), and GenopsError for a replay
        that takes too long (`reproduce.timeout`), fails (`reproduce.failed`), or takes its process
        with it (`reproduce.died`).
        """
        process = self._fitting(replay_environ(request.statement, request.numerics))
        try:
            result = process.ask(request.line(), self.timeout_s)
        except GenopsError:
            self._drop()
            raise
        if "error" in result:
            raise errors.revive(result["error"])
        outputs = tuple(Output(request.workdir / o["file"], o["pixels"]) for o in result["outputs"])
        return Replayed(outputs, result["environment"], result["seconds"])

    @property
    def running(self) -> bool:
        """Tell whether a process is warm."""
        return self._process is not None

    def close(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self._process.end(GOODBYE_S)
            self._process = None

    def _fitting(self, variables: Mapping[str, str]) -> _Process:
        if self._process is not None and self._process.variables != variables:
            self.close()
        if self._process is None:
            self._process = _Process(self._python, variables)
        return self._process

    def _drop(self) -> None:
        if self._process is not None:
            self._process.end(0)
            self._process = None


class _Process:
    """One interpreter and the threads that read from it, so that no pipe ever fills up."""

    def __init__(self, python: str, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self._popen = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [python, "-m", MODULE],
            env=self.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._input = cast("IO[str]", self._popen.stdin)
        self._outputs = [cast("IO[str]", self._popen.stdout), cast("IO[str]", self._popen.stderr)]
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._readers = [
            self._start(self._read_answers, self._outputs[0]),
            self._start(self._read_words, self._outputs[1]),
        ]

    def ask(self, line: str, timeout_s: float) -> Mapping[str, Any]:
        """Send a job and wait for its answer."""
        try:
            self._input.write(line)
            self._input.flush()
            answer = self._answers.get(timeout=timeout_s)
        except BrokenPipeError:
            answer = None
        except queue.Empty:
            raise GenopsError(
                f"the replay took over {timeout_s:.0f} s",
                code="reproduce.timeout",
                hint="raise GENOPS_LIMIT_REPLAY_S",
            ) from None
        if answer is None:
            raise self._death()
        result: dict[str, Any] = json.loads(answer)
        return result

    def end(self, patience_s: float) -> None:
        """Let the process end by itself for a while, then kill it; wait until it is gone."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        try:
            self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for reader in self._readers:
            reader.join(GOODBYE_S)
        for stream in self._outputs:
            stream.close()

    def _death(self) -> GenopsError:
        try:
            code = self._popen.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            return GenopsError("the replay process stopped answering", code="reproduce.died")
        self._readers[1].join(GOODBYE_S)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        last = next((word for word in reversed(self._words) if word.strip()), "no message")
        return GenopsError(
            f"the replay process {how}: {last.strip()}",
            code="reproduce.died",
            hint="Signal 9 is mostly a lack of memory." if code == -9 else "",
        )

    def _read_answers(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put(None)

    def _read_words(self, stream: IO[str]) -> None:
        self._words.extend(stream)

    def _start(self, reads: Any, stream: IO[str]) -> threading.Thread:
        thread = threading.Thread(target=reads, args=(stream,), daemon=True)
        thread.start()
        return thread

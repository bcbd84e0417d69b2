"""The sandbox in which generated code runs.

The code has: a Python interpreter with its standard library, read-only; one empty folder of some megabytes; standard
input and output; limits on time, memory, processes, files and output. It has not: network, environment, any other
file, /proc, other processes, root, capabilities, other user namespaces. When it ends or is ended, and when the process
that started it dies, everything that it started dies with it.

It does not protect from: a flaw of the kernel, whose system calls are not filtered; what the processor leaks; the use
of the CPU for as long as the time allows. Memory is limited for each process by the kernel and for all together by a
look every quarter of a second, so a quick code can hold more for that long; where that empties the box, the kernel
kills the code first. Memory of System V or memfd that no process maps is only stopped by that last rule.

The mechanisms are bubblewrap, where it is installed, and user namespaces, which need Linux 5.14. Root always takes the
second: there the code runs as `nobody`, whose processes the kernel counts. One call costs about 25 ms of CPU time.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from recipes.errors import InputError
from trainer.rewards.inside import source

FOLDER_MIB = 16
OPEN_FILES = 64
WATCH_S = 0.25
_MIB = 2**20
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")

Mechanism = Literal["bubblewrap", "user namespaces"]
Ended = Literal["ok", "error", "timeout", "memory", "output", "killed"]


class SandboxError(InputError):
    """The box has no means to isolate generated code, or a sandbox did not come up."""

    title = "No sandbox"


@dataclass(frozen=True)
class Limits:
    """What the code may take."""

    timeout_s: float = 10.0
    memory_mib: int = 512
    processes: int = 16
    output_kib: int = 64


@dataclass(frozen=True)
class Outcome:
    """How the code ended. `exit_code` is None where it was ended; `stdout` and `stderr` are hostile text."""

    ended: Ended
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float


@functools.cache
def available() -> Mechanism | None:
    """The mechanism that this box has, found by trying once, or None."""
    candidates: list[Mechanism] = ["user namespaces"]
    if os.geteuid() != 0 and shutil.which("bwrap"):
        candidates.insert(0, "bubblewrap")
    return next((mechanism for mechanism in candidates if _works(mechanism)), None)


def run_python(code: str, stdin: str, limits: Limits, *, unsandboxed: bool = False) -> Outcome:
    """Run `code` as a program until it ends or must be ended. Raises SandboxError where the box has no sandbox.

    `unsandboxed` runs it without one there: with the limits, in an empty folder, killed with its process group.
    """
    return start(code, stdin, limits, unsandboxed=unsandboxed).wait()


def start(code: str, stdin: str, limits: Limits, *, channel: int | None = None, unsandboxed: bool = False) -> Sandboxed:
    """Like `run_python`, but returns at once. The code inherits the file descriptor `channel` under its number."""
    mechanism = available()
    if mechanism is None and not unsandboxed:
        raise SandboxError(
            "generated code cannot be isolated here: neither bubblewrap nor user namespaces work",
            "install bubblewrap, or allow user namespaces (in a container: as root with CAP_SYS_ADMIN, or on the"
            " host); or set `unsandboxed: true` where you trust what the model writes",
        )
    return Sandboxed(mechanism, code, stdin, limits, channel)


class Sandboxed:
    """Code that runs in a sandbox. `wait` has to be called: it holds the limits that the kernel does not."""

    def __init__(self, mechanism: Mechanism | None, code: str, stdin: str, limits: Limits, channel: int | None) -> None:
        self._limits = limits
        self._started = time.monotonic()
        self._stack = contextlib.ExitStack()
        folder = "/" if mechanism else self._stack.enter_context(tempfile.TemporaryDirectory(prefix="burnish-"))
        self._ready, ready = os.pipe()
        self._stack.callback(os.close, self._ready)
        with _sealed(code) as program, _sealed(stdin) as given:
            self._process = subprocess.Popen(
                _command(mechanism, limits, program.fileno(), ready),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[program.fileno(), ready, *([] if channel is None else [channel])],
                env={},
                cwd=folder,
                start_new_session=True,
            )
        os.close(ready)
        self._stack.enter_context(self._process)
        assert self._process.stdout and self._process.stderr
        self._pipes = (self._process.stdout, self._process.stderr)
        self._read: dict[IO[bytes], bytearray] = {pipe: bytearray() for pipe in self._pipes}
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    def wait(self) -> Outcome:
        """The outcome, when nothing of the code lives any more. Raises SandboxError where the code never began."""
        with self._stack:
            try:
                why = self._watch()
            finally:
                # Also where we are interrupted; and without a sandbox the group may outlive its first process.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                code = self._process.wait()
            began = os.read(self._ready, 1) != b""
        stdout, stderr = (bytes(self._read[pipe]).decode("utf-8", "replace") for pipe in self._pipes)
        if not began:
            raise SandboxError(
                f"the sandbox did not come up: {stderr.strip()[-300:] or why}", "the box may lack memory or processes"
            )
        ended = why or _ended(code, stderr)
        alone = ended in ("ok", "error")
        return Outcome(ended, code if alone else None, stdout, stderr, time.monotonic() - self._started)

    def kill(self) -> None:
        """End the code now: `wait` returns soon."""
        self._process.kill()

    def _watch(self) -> Ended | None:
        """Returns when the process has ended, None, or must be ended: why."""
        deadline, look = self._started + self._limits.timeout_s, self._started + WATCH_S
        with selectors.DefaultSelector() as selector, _exit_of(self._process) as exited:
            for file in (*self._pipes, exited):
                selector.register(file, selectors.EVENT_READ)
            while True:
                files = [key.fileobj for key, _ in selector.select(max(0.0, min(deadline, look) - time.monotonic()))]
                for pipe in self._pipes:
                    if (pipe in files or exited in files) and self._drain(pipe) and pipe in selector.get_map():
                        selector.unregister(pipe)
                if sum(map(len, self._read.values())) > self._limits.output_kib * 1024:
                    return "output"
                if exited in files:
                    return None
                if time.monotonic() >= deadline:
                    return "timeout"
                if time.monotonic() >= look:
                    look = time.monotonic() + WATCH_S
                    if _resident(self._process.pid) > self._limits.memory_mib * _MIB:
                        return "memory"

    def _drain(self, pipe: IO[bytes]) -> bool:
        """Read what is there, up to the limit. True where nothing more can come."""
        read = self._read[pipe]
        while (room := self._limits.output_kib * 1024 + 1 - len(read)) > 0:
            try:
                piece = os.read(pipe.fileno(), min(room, 65536))
            except BlockingIOError:
                return False
            if not piece:
                return True
            read += piece
        return True


def _command(mechanism: Mechanism | None, limits: Limits, code: int, ready: int) -> list[str]:
    """The command that runs the source in the file `code` and says on `ready` when it begins."""
    python = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-X", "utf8", "-c"]
    run = f"run_code({_kernel_limits(limits)!r}, {code}, {ready})"
    match mechanism:
        case "bubblewrap":
            return [*_bubblewrap(), *python, f"{source('cell')}\n\n{run}"]
        case "user namespaces":
            enter = f"enter({os.getpid()}, {_binds(*_DEVICES)!r}, {FOLDER_MIB})"
            return [*python, f"{source('jail', 'cell')}\n\n{enter}\n{run}"]
        case None:
            return [*python, f"{source('cell')}\n\n{run}"]


def _bubblewrap() -> list[str]:
    # The whole path: the environment that it is started with has no PATH.
    command = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--clearenv",
    ]
    command += ["--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--hostname", "box"]
    for path, place in _binds():
        command += ["--ro-bind", path, place]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    # The root is a tmpfs too, without a size: it must not stay writable.
    return [*command, "--size", str(FOLDER_MIB * _MIB), "--tmpfs", "/box", "--chdir", "/box", "--remount-ro", "/"]


def _binds(*devices: str) -> list[tuple[str, str]]:
    """What the interpreter needs, as (real path, place): nothing twice, and nothing inside another."""
    binary = os.path.realpath(sys.executable)
    wanted = [*_LIBRARIES, f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64", binary, *devices]
    places: list[str] = []
    for place in wanted:
        if Path(place).exists() and not any(f"{place}/".startswith(f"{other}/") for other in places):
            places.append(place)
    return [(os.path.realpath(place), place) for place in places]


def _kernel_limits(limits: Limits) -> dict[str, int]:
    return {
        "RLIMIT_AS": limits.memory_mib * _MIB,
        "RLIMIT_CPU": math.ceil(limits.timeout_s) + 1,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_FSIZE": FOLDER_MIB * _MIB,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
    }


def _ended(code: int, stderr: str) -> Ended:
    """What an exit code means; 128 and more, or below 0, is a signal."""
    if code in (128 + signal.SIGXCPU, -signal.SIGXCPU):
        return "timeout"
    if code < 0 or code > 128:
        return "killed"
    if code and stderr.rstrip().rpartition("\n")[2].startswith("MemoryError"):
        return "memory"
    return "error" if code else "ok"


def _resident(pid: int) -> int:
    """Bytes of memory that a process and all below it have for themselves."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                memory = process.memory_info()
                total += memory.rss - memory.shared
    return total


def _works(mechanism: Mechanism) -> bool:
    try:
        return Sandboxed(mechanism, "print(6 * 7)", "", Limits(), None).wait().stdout == "42\n"
    except (OSError, SandboxError):
        return False


@contextlib.contextmanager
def _sealed(text: str) -> Iterator[IO[bytes]]:
    """`text` as an open file without a name that its reader cannot change."""
    with os.fdopen(os.memfd_create("code", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b") as file:
        file.write(text.encode("utf-8", "replace"))
        file.seek(0)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        yield file


@contextlib.contextmanager
def _exit_of(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """A file descriptor that becomes readable when `process` ends."""
    exited = os.pidfd_open(process.pid)
    try:
        yield exited
    finally:
        os.close(exited)

"""Generated code does its worst, and the box is unharmed and says how the code ended.

Each bomb here is bounded in itself: a sandbox that does not hold fails the test and not the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from trainer.rewards import sandbox
from trainer.rewards.sandbox import Limits, Outcome, SandboxError, available, run_python

ROOT = Path(__file__).resolve().parents[3]
SECRET = "burnish-secret-4711"
MARK_MIB = 509  # a limit that no other test has: it stands in the command of each process that came of it
Run = Callable[..., Outcome]

isolated = pytest.mark.skipif(available() is None, reason="neither bubblewrap nor user namespaces work on this box")

ELSEWHERE = """
import dataclasses, json, sys
from trainer.rewards.sandbox import Limits, available, run_python
assert available() == sys.argv[1], available()
order = json.load(sys.stdin)
outcome = run_python(order["code"], order["stdin"], Limits(**order["limits"]))
json.dump(dataclasses.asdict(outcome), sys.stdout)
"""


def as_nobody(bubblewrap: bool) -> Run:
    """`run_python` in a process of the user `nobody`, whose interpreter is the system's: root's may be out of reach."""
    python = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv:
        pytest.skip("only root, with setpriv, can become nobody")
    if not Path(python).exists() or not ROOT.stat().st_mode & 0o5:
        pytest.skip(f"nobody needs {python} and the right to read {ROOT}")
    found = shutil.which("bwrap")
    if bubblewrap and not found:
        pytest.skip("bubblewrap is not installed")
    path = str(Path(found).parent) if bubblewrap and found else "/nowhere"
    mechanism = "bubblewrap" if bubblewrap else "user namespaces"
    become = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups"]

    def run(code: str, stdin: str = "", **limits: float) -> Outcome:
        done = subprocess.run(
            [*become, python, "-c", ELSEWHERE, mechanism],
            input=json.dumps({"code": code, "stdin": stdin, "limits": limits}),
            env={"PATH": path, "PYTHONPATH": f"{ROOT}:{Path(psutil.__file__).parents[1]}", "TOKEN": SECRET},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return Outcome(**json.loads(done.stdout))

    return run


@pytest.fixture(params=["this user", "nobody", "nobody with bubblewrap"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs code under every mechanism and user that this box can show."""
    monkeypatch.setenv("TOKEN", SECRET)
    if available() is None:
        pytest.skip("neither bubblewrap nor user namespaces work on this box")
    if request.param != "this user":
        return as_nobody(bubblewrap="bubblewrap" in request.param)
    return lambda code, stdin="", **limits: run_python(code, stdin, Limits(**limits))


def test_code_reads_its_input_and_writes_its_output(run: Run) -> None:
    outcome = run("import sys; print(int(input()) * 2); print('hm', file=sys.stderr)", "21\n")
    assert (outcome.ended, outcome.exit_code, outcome.stdout, outcome.stderr) == ("ok", 0, "42\n", "hm\n")


@pytest.mark.parametrize(
    ("code", "ended", "exit_code", "said"),
    [
        ("def f():\n    raise ValueError('no')\nf()", "error", 1, "ValueError: no"),
        ("def f(:", "error", 1, "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(3)", "error", 3, ""),
        ("import os; os._exit(0)", "ok", 0, ""),
        ("import ctypes; ctypes.string_at(0)", "killed", None, ""),
        ("import os; os.kill(os.getpid(), 9)", "killed", None, ""),
        ("x = bytearray(2**34)", "memory", None, "MemoryError"),
    ],
)
def test_the_ending_is_named(run: Run, code: str, ended: str, exit_code: int | None, said: str) -> None:
    outcome = run(code)
    assert (outcome.ended, outcome.exit_code) == (ended, exit_code)
    assert outcome.stderr.strip().rpartition("\n")[2] == said
    assert "run_code" not in outcome.stderr  # the trace is the code's own


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import os, time; os.closerange(0, 64); time.sleep(60)",
        "import signal, time\nfor n in {*range(1, 32)} - {9, 19}: signal.signal(n, signal.SIG_IGN)\ntime.sleep(60)",
    ],
    ids=["busy", "asleep", "silent", "deaf"],
)
def test_code_that_does_not_end_is_ended(run: Run, code: str) -> None:
    outcome = run(code, timeout_s=1.5)
    assert (outcome.ended, outcome.exit_code) == ("timeout", None)
    assert 1.4 < outcome.seconds < 5


def test_a_fork_bomb_stays_small(run: Run) -> None:
    # Every process doubles itself, ten times at most, and says that it was born.
    bomb = "import os, time\nos.write(1, b'.')\nfor _ in range(10):\n    try:\n        if not os.fork(): os.write(1, b'.')\n"
    outcome = run(bomb + "    except OSError: pass\ntime.sleep(60)", timeout_s=2, processes=8, memory_mib=MARK_MIB)
    assert outcome.ended == "timeout"
    assert 4 <= len(outcome.stdout) <= 8
    assert not marked()


def test_threads_count_as_processes(run: Run) -> None:
    code = "import threading, time\nfor n in range(40): threading.Thread(target=time.sleep, args=(1,), daemon=True).start()"
    outcome = run(code, processes=8)
    assert "can't start new thread" in outcome.stderr


def test_memory_of_all_processes_together_is_limited(run: Run) -> None:
    code = "import os, time\nfor _ in range(3): os.fork()\nheld = bytearray(b'x') * (60 * 2**20)\ntime.sleep(20)"
    assert run(code, memory_mib=128).ended == "memory"


def test_memory_in_small_pieces_is_limited(run: Run) -> None:
    outcome = run("held = []\nfor _ in range(64): held.append(bytearray(2**24))\nprint('held')", memory_mib=256)
    assert (outcome.ended, outcome.stdout) == ("memory", "")


def test_a_flood_of_output_is_cut(run: Run) -> None:
    outcome = run("piece = 'x' * 10**6\nfor _ in range(10**4): print(piece)", output_kib=64)
    assert outcome.ended == "output"
    assert 64 * 1024 < len(outcome.stdout) <= 64 * 1024 + 1
    assert outcome.seconds < 5


def test_files_outside_the_folder_are_out_of_sight(run: Run, tmp_path: Path) -> None:
    secrets = [tmp_path / "secret", Path.home() / f".{SECRET}-{os.getpid()}"]
    for secret in secrets:
        secret.write_text(SECRET)
    try:
        paths = [*map(str, secrets), str(ROOT), "/proc", "/sys"]
        look = (
            f"import os\nprint([path for path in {paths} if os.path.exists(path)], os.listdir(), *sorted(os.environ))"
        )
        outcome = run(look)
    finally:
        secrets[1].unlink()
    seen, given = outcome.stdout.strip().split("] [] ")
    assert seen == "["
    assert given in ("LC_CTYPE", "LC_CTYPE PWD")  # the interpreter's, and bubblewrap's
    assert SECRET not in outcome.stdout


def test_only_its_folder_can_be_written_and_that_is_small(run: Run) -> None:
    code = """
import os
for folder in ("/", "/usr/lib", "/lib", "/dev", "/etc", os.path.dirname(os.__file__)):
    try:
        open(f"{folder}/written", "w")
        print("wrote to", folder)
    except OSError:
        pass
held = 0
try:
    for n in range(200):
        open(f"{n}", "wb").write(bytes(2**20))
        held += 1
except OSError as error:
    print(held, error)
"""
    outcome = run(code)
    assert outcome.stdout == f"{sandbox.FOLDER_MIB} [Errno 28] No space left on device\n", outcome.stderr


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """A TCP and a UDP socket on this box's loopback, and one with an abstract name."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix,
    ):
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        unix.bind(f"\0burnish-test-{os.getpid()}")
        for one in (tcp, unix):
            one.listen()
        for one in (tcp, udp, unix):
            one.setblocking(False)
        yield [tcp, udp, unix]


def test_nothing_comes_through_to_the_network(run: Run, listeners: list[socket.socket]) -> None:
    tcp, udp, unix = listeners
    code = f"""
import socket
def attempt(name, work):
    try:
        work()
        print(name)
    except OSError:
        pass
attempt("tcp", lambda: socket.create_connection({tcp.getsockname()!r}, 2))
attempt("name", lambda: socket.getaddrinfo("localhost.example.com", 80))
attempt("unix", lambda: socket.socket(socket.AF_UNIX).connect({unix.getsockname()!r}))
attempt("far", lambda: socket.create_connection(("192.0.2.1", 80), 2))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", {udp.getsockname()!r}))
print("done")
"""
    outcome = run(code)
    # Where the sandbox has a loopback of its own, a datagram to it is lost there.
    assert outcome.stdout in ("done\n", "udp\ndone\n"), outcome.stderr
    for accept in (tcp.accept, unix.accept, lambda: udp.recv(1)):
        with pytest.raises(BlockingIOError):
            accept()


def test_no_right_is_left_and_none_to_be_had(run: Run) -> None:
    code = """
import ctypes, os, resource
libc = ctypes.CDLL(None)
print(os.getuid(), os.getgid())
print("namespace", libc.unshare(0x10000000))
print("mount", libc.mount(b"none", b"/box", b"tmpfs", 0, None))
print("unmount", libc.umount2(b"/usr/lib", 2))
print("chroot", libc.chroot(b"/box"))
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))
    print("more processes")
except ValueError:
    pass
"""
    assert run(code).stdout == "65534 65534\nnamespace -1\nmount -1\nunmount -1\nchroot -1\n"


ESCAPE = "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork(): time.sleep(60)\n    os._exit(0)\n"


@isolated
def test_what_runs_off_dies_with_the_code() -> None:
    outcome = run_python(ESCAPE + "os.wait(); print('bye')", "", Limits(memory_mib=MARK_MIB))
    assert (outcome.ended, outcome.stdout) == ("ok", "bye\n")
    assert not marked()


@isolated
def test_all_of_it_dies_with_the_scoring_process() -> None:
    code = f"{ESCAPE}\nos.wait(); time.sleep(60)"
    script = f"from trainer.rewards.sandbox import *; run_python({code!r}, '', Limits(timeout_s=60))"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as scorer:
        # Two to three processes of the sandbox, the code and its grandchild, whose parent is gone.
        wait_until(lambda: len(alive_below(scorer.pid)) >= 4 and any(is_orphan(p) for p in alive_below(scorer.pid)))
        inside = alive_below(scorer.pid)
        scorer.send_signal(signal.SIGKILL)
        scorer.wait()
    wait_until(lambda: not any(one.is_running() for one in inside), timeout_s=10)


@isolated
def test_a_sandbox_that_does_not_come_up_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_binds", lambda *_: [("/does/not/exist", "/usr/lib")])
    with pytest.raises(SandboxError, match="did not come up"):
        run_python("print(1)", "", Limits())


def test_a_box_that_forbids_namespaces_has_no_mechanism() -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv:
        pytest.skip("only root, with setpriv, can give up the right to make namespaces")
    script = "from trainer.rewards.sandbox import *; print(available()); run_python('print(1)', '', Limits())"
    command = [setpriv, "--bounding-set", "-sys_admin", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "None\n"
    assert "SandboxError: generated code cannot be isolated here" in done.stderr


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box whose kernel refuses: only the answer is put in, all that follows is real."""
    monkeypatch.setattr(sandbox, "available", lambda: None)


@pytest.mark.usefixtures("bare")
def test_without_a_mechanism_code_is_refused() -> None:
    with pytest.raises(SandboxError) as refused:
        run_python("print(1)", "", Limits())
    assert "unsandboxed: true" in refused.value.hint
    assert refused.value.exit_code == 2


@pytest.mark.usefixtures("bare")
def test_unsandboxed_code_still_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)

    def run(code: str, **limits: float) -> Outcome:
        return run_python(code, "", Limits(**limits), unsandboxed=True)  # type: ignore[arg-type]

    outcome = run("import os; print(os.getcwd(), os.listdir(), 'TOKEN' in os.environ)")
    folder, rest = outcome.stdout.split(" ", 1)
    assert rest == "[] False\n"
    assert not Path(folder).exists()
    assert run("while True: pass", timeout_s=1).ended == "timeout"
    assert run("x = bytearray(2**34)").ended == "memory"
    assert run("while True: print('x' * 10**6)").ended == "output"
    # A child that outlives the code would hold the output open.
    begin = time.monotonic()
    assert run("import os, time\nif not os.fork(): time.sleep(60)", processes=10_000).ended == "ok"
    assert time.monotonic() - begin < 10
    wait_until(lambda: not alive_below(os.getpid()), timeout_s=5)


def marked() -> list[psutil.Process]:
    """The processes of the whole box that came of a call with MARK_MIB, whoever their parent is now."""
    mark = f"'RLIMIT_AS': {MARK_MIB * 2**20}"
    return [one for one in psutil.process_iter(["cmdline"]) if mark in " ".join(one.info["cmdline"] or ())]


def alive_below(pid: int) -> list[psutil.Process]:
    """The processes below `pid` that run."""
    below = psutil.Process(pid).children(recursive=True)
    return [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def is_orphan(process: psutil.Process) -> bool:
    """Whether it leads no session and its parent leads another one: what a double fork leaves behind."""
    try:
        return os.getsid(process.pid) not in (process.pid, os.getsid(process.ppid()))
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False

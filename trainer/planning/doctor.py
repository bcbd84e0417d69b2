"""Is this box ready? One check a fact, each with its remedy. Nothing is changed, and nothing fails on what is missing."""

from __future__ import annotations

import configparser
import getpass
import json
import locale
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal

import psutil

from trainer.devices.backend import open_backend
from trainer.devices.model import Host, Snapshot
from trainer.pocket import cache

_HUB_WAIT_S = 3.0
_IMPORT_WAIT_S = 120.0
_NETWORK_DISKS = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "9p", "fuse.")
_DRIVERS = {11: 450, 12: 525, 13: 580}  # the oldest driver that runs a CUDA of this major version
_TRUE = ("1", "true", "yes", "on")
# Asked in a process of its own: importing these takes seconds and memory that this one need not have, and may crash.
_LIBRARIES = """
import json, torch
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda or getattr(torch.version, "hip", None),
                  "sees": torch.cuda.is_available()}), flush=True)
try:
    import bitsandbytes
except Exception as error:
    absent = getattr(error, "name", None) == "bitsandbytes"
    print(json.dumps({"absent": absent, "error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({"bitsandbytes": bitsandbytes.__version__}))
"""


@dataclass(frozen=True)
class Check:
    """One fact: `warn` means that something will be slower or not at hand, `fail` that nothing can be trained."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


def checks(devices: str = "nvml") -> Iterator[Check]:
    """Every check in turn; importing torch takes seconds. `devices` is the backend that GPUs are read through.

    Raises InputError where `devices` names no backend.
    """
    with closing(open_backend(devices)) as backend:
        snapshot = backend.snapshot()
    hub = _ask_hub()
    yield Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")
    yield _gpus(snapshot)
    yield from _libraries(snapshot)
    yield _packages()
    yield disk(snapshot.host, mounts())
    yield _memory(snapshot.host)
    yield _hub(hub)
    yield _token()
    yield _tmux()
    yield logout()
    yield _terminal()
    built = cache.is_built()
    yield Check(
        "pocket model", "ok", "built" if built else "not built yet", "" if built else "`burnish demo` builds it"
    )


def _gpus(snapshot: Snapshot) -> Check:
    if not snapshot.gpus:
        detail = f"{snapshot.note or 'no GPU'}; trains on CPU, only small models"
        return Check("gpu", "warn", detail, "on a GPU box install the NVIDIA driver; `nvidia-smi` has to list the GPUs")
    names = ", ".join(f"{count} x {name}" for name, count in Counter(gpu.name for gpu in snapshot.gpus).items())
    driver = f", driver {snapshot.driver}" if snapshot.driver else ""
    lost = [f"GPU {gpu.index} is {gpu.state}" for gpu in snapshot.gpus if gpu.state != "ok"]
    if trouble := [*lost, *snapshot.warnings]:
        remedy = "`nvidia-smi` and `dmesg | grep Xid` say more; a lost GPU comes back with a reboot"
        return Check("gpu", "warn", f"{names}{driver}: {'; '.join(trouble)}", remedy)
    return Check("gpu", "ok", f"{names}{driver}")


def _libraries(snapshot: Snapshot) -> Iterator[Check]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _LIBRARIES],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_IMPORT_WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        remedy = "look at the disk that Python is on"
        yield Check("torch", "fail", f"importing it takes more than {_IMPORT_WAIT_S:.0f} s", remedy)
        return
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode} and no message"])[-1]
    if not said:
        yield Check("torch", "fail", f"cannot be imported: {last}", "pip install --force-reinstall 'torch>=2.11'")
        return
    yield _torch(said[0], snapshot)
    yield _bitsandbytes(said[1] if len(said) > 1 else {"absent": False, "error": last})


def _torch(told: dict[str, Any], snapshot: Snapshot) -> Check:
    version, cuda = told["torch"], told["cuda"]
    if told["sees"]:
        return Check("torch", "ok", f"{version}, CUDA {cuda}")
    if not snapshot.gpus:
        return Check("torch", "ok", f"{version}, {f'CUDA {cuda}' if cuda else 'a CPU build'}")
    if cuda is None:
        remedy = (
            "pip install --force-reinstall torch gives the CUDA build; pytorch.org/get-started has one for each CUDA"
        )
        return Check("torch", "warn", f"{version} is a CPU build: it does not use the GPUs", remedy)
    needed = _DRIVERS.get(int(cuda.partition(".")[0]))
    driver = (snapshot.driver or "").partition(".")[0]
    if needed and driver.isdecimal() and int(driver) < needed:
        remedy = f"update the driver to {needed} or newer, or take torch for an older CUDA from pytorch.org/get-started"
        return Check("torch", "warn", f"{version} is built for CUDA {cuda}; driver {driver} is too old for it", remedy)
    remedy = "see whether CUDA_VISIBLE_DEVICES hides them; python -c 'import torch; torch.cuda.init()' says why"
    return Check("torch", "warn", f"{version} (CUDA {cuda}) sees no GPU", remedy)


def _bitsandbytes(told: dict[str, Any]) -> Check:
    remedy = "pip install 'burnish[quant]'; the lora and full recipes run without it"
    if version := told.get("bitsandbytes"):
        wrong = _out_of_range("quant")
        return Check("bitsandbytes", "warn", wrong[0][0], remedy) if wrong else Check("bitsandbytes", "ok", version)
    detail = "not installed" if told["absent"] else f"cannot be imported: {told['error']}"
    return Check("bitsandbytes", "warn", f"{detail}; no qlora", remedy)


def _packages() -> Check:
    if wrong := _out_of_range():
        wanted = " ".join(f"'{requirement}'" for _, requirement in wrong)
        return Check("packages", "fail", "; ".join(problem for problem, _ in wrong), f"pip install {wanted}")
    return Check("packages", "ok", "all within the versions that burnish asks for")


def _out_of_range(extra: str = "") -> list[tuple[str, str]]:
    """(what is wrong, the requirement) for each package that burnish asks for, or that one of its extras adds."""
    try:
        from packaging.requirements import Requirement

        asked_for = [Requirement(text) for text in metadata.requires("burnish") or []]
    except ImportError as error:  # also where burnish itself runs without being installed
        return [(f"{error.name} is not installed", str(error.name))]

    def asked_by(requirement: Requirement, extra: str) -> bool:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})

    wrong = []
    for asked in asked_for:
        if not asked_by(asked, extra) or (extra and asked_by(asked, "")):
            continue
        try:
            version = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            wrong.append((f"{asked.name} is not installed", f"{asked.name}{asked.specifier}"))
            continue
        if not asked.specifier.contains(version, prereleases=True):
            wrong.append((f"{asked.name} {version} is not {asked.specifier}", f"{asked.name}{asked.specifier}"))
    return wrong


def disk(host: Host, mounted: Iterable[tuple[str, str]]) -> Check:
    """The disk of $BURNISH_HOME; `mounted` is (mount point, file system) of all that is mounted."""
    place, free = Path(host.disk_path), host.disk.free_gib
    kind = _file_system(place, mounted)
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("disk", "fail", f"{place} cannot be written to", "set BURNISH_HOME to a folder of yours")
    if free < 1:
        return Check(
            "disk", "fail", f"{free:.1f} GiB free on {place}: no run could save", "make room, or set BURNISH_HOME"
        )
    if kind.startswith(_NETWORK_DISKS):
        remedy = "set BURNISH_HOME to a local disk: runs are found by file locks, which not every network keeps"
        return Check("disk", "warn", f"{place} is on {kind}, {free:.0f} GiB free", remedy)
    if free < 5:
        return Check(
            "disk", "warn", f"{free:.1f} GiB free on {place}", "make room, or set BURNISH_HOME to a larger disk"
        )
    return Check("disk", "ok", f"{free:.0f} GiB free on {place} ({kind})")


def mounts() -> list[tuple[str, str]]:
    """(mount point, file system) of all that is mounted."""
    return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]


def _file_system(place: Path, mounted: Iterable[tuple[str, str]]) -> str:
    """What `place` lies on: of the mount points above it the longest, and of several there the last one mounted."""
    above = [(len(at), kind) for at, kind in mounted if place.is_relative_to(at)]
    longest = max((length for length, _ in above), default=0)
    return next((kind for length, kind in reversed(above) if length == longest), "unknown")


def _memory(host: Host) -> Check:
    detail = f"{host.ram.free_gib:.1f} of {host.ram.total_gib:.1f} GiB available"
    if host.ram.free_gib < 4:
        return Check("memory", "warn", detail, "a run needs about 1 GiB beside the model: end what else uses it")
    return Check("memory", "ok", detail)


def _ask_hub() -> SimpleQueue[str] | None:
    """Begin to ask; the answer, empty where the hub is there, comes later. None where burnish was told not to."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        return None
    answer: SimpleQueue[str] = SimpleQueue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(_hub_address(), method="HEAD"), timeout=_HUB_WAIT_S):
                answer.put("")
        except (OSError, ValueError) as error:
            answer.put(str(getattr(error, "reason", "") or error))

    Thread(target=ask, daemon=True).start()
    return answer


def _hub_address() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def _hub(answer: SimpleQueue[str] | None) -> Check:
    if answer is None:
        return Check("hub", "ok", "not asked: HF_HUB_OFFLINE is set; local folders and downloaded models work")
    try:
        problem = answer.get(timeout=_HUB_WAIT_S)  # looking up a name knows no timeout of its own
    except Empty:
        problem = f"no answer in {_HUB_WAIT_S:.0f} s"
    if problem:
        remedy = (
            "local folders and downloaded models still work: HF_HUB_OFFLINE=1 skips asking, HF_ENDPOINT names a mirror"
        )
        return Check("hub", "warn", f"{_hub_address()}: {problem}", remedy)
    return Check("hub", "ok", _hub_address())


def _token() -> Check:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    file = Path(os.environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return Check("hub token", "ok", "in the environment")
    try:
        if file.stat().st_size:
            return Check("hub token", "ok", f"in {file}")
    except OSError:
        pass
    return Check("hub token", "warn", "none: gated models such as Llama and Gemma cannot be fetched", "hf auth login")


def _tmux() -> Check:
    if os.environ.get("TMUX") or shutil.which("tmux"):
        return Check("tmux", "ok", "at hand")
    remedy = "runs outlive the terminal without it; installed, it keeps the screen too"
    return Check("tmux", "warn", "not installed", remedy)


def logout(root: Path = Path("/")) -> Check:
    """systemd may be set to kill what a user left running at logout: the one thing that a new session does not survive.

    `root` is the folder that holds `etc` and `var`.
    """
    kills, user = False, _user()
    drop_ins = {file.name: file for at in ("usr/lib", "run", "etc") for file in _logind(root / at).glob("*.conf")}
    for file in (root / "etc/systemd/logind.conf", *(drop_ins[name] for name in sorted(drop_ins))):
        parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
        try:
            parser.read_string(file.read_text(errors="replace"))
        except (OSError, configparser.Error):
            continue
        kills = (parser.get("Login", "KillUserProcesses", fallback=None) or ("yes" if kills else "no")).lower() in _TRUE
    if kills and user != "root" and not (root / "var/lib/systemd/linger" / user).is_file():
        return Check("logout", "warn", "logging out would kill runs: systemd is set to it", "loginctl enable-linger")
    return Check("logout", "ok", "runs go on after you log out")


def _logind(at: Path) -> Path:
    return at / "systemd/logind.conf.d"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        return str(os.getuid())


def _terminal() -> Check:
    term, coding = os.environ.get("TERM", ""), locale.getpreferredencoding(False)
    if "utf" not in coding.lower():
        return Check("terminal", "warn", f"the locale is {coding}", "export LANG=C.UTF-8, or burnish --ascii")
    if term in ("", "dumb"):
        return Check("terminal", "warn", "TERM is not set" if not term else "TERM=dumb", "export TERM=xterm-256color")
    many = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    colours = "16 million colours" if many else "256 colours" if "256" in term else "16 colours"
    return Check("terminal", "ok", f"TERM={term}, {colours}, {coding}")

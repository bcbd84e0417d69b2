"""The box is told as it is: through NVML with its gaps, as a fake, or from a scenario file, and never at a crash."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from recipes.errors import InputError
from trainer.devices import scenario_fields
from trainer.devices.backend import open_backend
from trainer.devices.cgroup import CgroupMemory, cgroup_memory
from trainer.devices.fake import MODELS, FakeBackend
from trainer.devices.host import in_container, in_wsl, read_host
from trainer.devices.model import Gpu, GpuProcess, Host, Memory, Snapshot
from trainer.devices.processes import private_pid_namespace
from trainer.devices.sampler import Sampler
from trainer.devices.scenario import ScenarioBackend, read_scenario
from tui.commands import gpus

_ROOT = Path(__file__).parents[2]
_FAKE = Path(__file__).parent / "fake_nvml"
_COMPILER = shutil.which("cc") or shutil.which("gcc")
_needs_compiler = pytest.mark.skipif(_COMPILER is None, reason="no C compiler to build the fake NVML with")


# --- NVML, against a library of our own -------------------------------------------------------------------------------


def _build(folder: Path, *options: str) -> Path:
    assert _COMPILER is not None
    target = folder / "libnvidia-ml.so.1"
    command = [_COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", *options, "-o", str(target), "fake_nvml.c"]
    subprocess.run(command, cwd=_FAKE, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("nvml"))


def _read(
    library: Path, *kinds: str, private: bool = False, init: int = 0, interval_s: float = 0
) -> tuple[int, list[dict[str, Any]]]:
    """The pid of a process and the snapshots that it took with the fake library, one for each list of kinds."""
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "PYTHONPATH": str(_ROOT),
        "FAKE_NVML_INIT": str(init),
    }
    command = [sys.executable, str(_FAKE / "read.py"), str(library), str(int(private)), str(interval_s), *kinds]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return told["pid"], told["snapshots"]


@_needs_compiler
def test_a_healthy_gpu_tells_every_field_in_our_units(library: Path) -> None:
    _, [box] = _read(library, "ok")
    [gpu] = box["gpus"]
    assert (box["backend"], box["driver"], box["note"]) == ("nvml", "999.01", "")
    assert (gpu["index"], gpu["uuid"], gpu["state"], gpu["mig"]) == (0, "GPU-0", "ok", None)
    assert gpu["name"] == "NVIDIA �[31mFake"
    # What the driver reserves is neither used nor free.
    assert gpu["memory"] == {"used_gib": 1.0, "free_gib": 18.5, "total_gib": 20.0}
    assert gpu["memory_kind"] == "device"
    assert (gpu["utilization"], gpu["power_w"], gpu["power_limit_w"], gpu["temperature_c"]) == (87, 412.345, 700, 61)
    assert (gpu["clock_sm_mhz"], gpu["clock_memory_mhz"]) == (1755, 3201)
    assert gpu["throttle"] == ["power limit", "too hot (hardware)"]


@_needs_compiler
def test_processes_are_merged_by_pid_and_named_where_they_are_ours(library: Path) -> None:
    pid, [box] = _read(library, "ok")
    [gpu] = box["gpus"]
    ours, drawing, unknown = gpu["processes"]
    assert (ours["pid"], ours["used_gib"], ours["user"]) == (pid, 640 / 1024, getpass.getuser())
    assert ours["name"] == "�[31mtrain"
    assert drawing == {"pid": 99999998, "used_gib": 8 / 1024, "user": None, "name": None, "run": None}
    assert unknown == {"pid": 99999999, "used_gib": None, "user": None, "name": None, "run": None}
    assert gpu["processes_known"] is True


@_needs_compiler
def test_a_pid_of_another_namespace_is_not_looked_up_in_ours(library: Path) -> None:
    # The number is that of a living process here, but one that holds no GPU device: not the one the driver means.
    pid, [box] = _read(library, "ok", private=True)
    [gpu] = box["gpus"]
    assert [each["pid"] for each in gpu["processes"]] == [pid, 99999998, 99999999]
    assert {each["name"] for each in gpu["processes"]} == {None}
    assert gpu["processes_known"] is False


@_needs_compiler
def test_fields_that_are_not_supported_are_none_and_cost_nothing_else(library: Path) -> None:
    _, [box] = _read(library, "bare")
    [gpu] = box["gpus"]
    assert (gpu["state"], gpu["uuid"], gpu["memory"]["total_gib"]) == ("ok", "GPU-0", 20.0)
    for field in ("utilization", "power_w", "power_limit_w", "temperature_c", "clock_sm_mhz", "clock_memory_mhz"):
        assert gpu[field] is None, field
    assert (gpu["throttle"], gpu["processes"], gpu["processes_known"]) == ([], [], False)


@_needs_compiler
def test_an_old_driver_is_asked_in_its_own_versions(library: Path) -> None:
    pid, [box] = _read(library, "old")
    [gpu] = box["gpus"]
    assert gpu["memory"] == {"used_gib": 1.5, "free_gib": 18.5, "total_gib": 20.0}
    assert (gpu["temperature_c"], gpu["throttle"]) == (59, ["hardware slowdown"])
    assert [each["pid"] for each in gpu["processes"]] == [pid, 99999999]


@_needs_compiler
def test_a_gpu_without_memory_of_its_own_shares_that_of_the_host(library: Path) -> None:
    _, [box] = _read(library, "unified")
    [gpu] = box["gpus"]
    assert (gpu["state"], gpu["memory_kind"], gpu["utilization"]) == ("ok", "unified", 87)
    assert gpu["memory"] == box["host"]["ram"]


@_needs_compiler
def test_what_is_not_permitted_is_said(library: Path) -> None:
    _, [box] = _read(library, "denied")
    [gpu] = box["gpus"]
    assert (gpu["memory"], gpu["memory_kind"], gpu["processes_known"]) == (None, "unknown", False)
    assert gpu["note"] == "Memory: No permission to talk to the NVIDIA driver"
    assert gpu["utilization"] == 87


@_needs_compiler
def test_a_gpu_that_answers_nothing_is_unreadable_and_says_why(library: Path) -> None:
    _, [box] = _read(library, "broken,ok")
    broken, healthy = box["gpus"]
    assert broken["state"] == "unreadable"
    assert "unknown error" in broken["note"]
    assert (healthy["state"], healthy["utilization"]) == ("ok", 87)


@_needs_compiler
@pytest.mark.parametrize("loss", ["lost", "nohandle"])
def test_a_lost_gpu_keeps_its_name_while_the_others_are_read(library: Path, loss: str) -> None:
    # The first reading after a loss uses the handle that was kept, the second asks for a new one.
    _, [before, _, after, back] = _read(library, "ok,ok", f"ok,{loss}", f"ok,{loss}", "ok,ok")
    assert [gpu["state"] for gpu in before["gpus"]] == ["ok", "ok"]
    assert [gpu["state"] for gpu in after["gpus"]] == ["ok", "lost"]
    healthy, lost = after["gpus"]
    assert (healthy["utilization"], len(healthy["processes"])) == (87, 3)
    assert (lost["index"], lost["uuid"], lost["name"]) == (1, "GPU-1", "NVIDIA �[31mFake")
    assert (lost["memory"], lost["utilization"], lost["processes_known"]) == (None, None, False)
    assert "lost" in lost["note"]
    assert [gpu["state"] for gpu in back["gpus"]] == ["ok", "ok"]


@_needs_compiler
def test_mig_slices_follow_their_parent_and_have_the_processes(library: Path) -> None:
    pid, [box] = _read(library, "mig,ok")
    parent, first, third, other = box["gpus"]
    assert (parent["mig"], parent["state"], parent["processes"], parent["temperature_c"]) == ("parent", "ok", [], 61)
    assert (parent["memory"], parent["memory_kind"]) == (None, "unknown")
    assert [(each["index"], each["uuid"], each["mig"]) for each in (first, third)] == [
        (0, "MIG-0-0", "1g.10gb"),
        (0, "MIG-0-2", "1g.10gb"),
    ]
    assert first["memory"] == {"used_gib": 1.0, "free_gib": 8.5, "total_gib": 10.0}
    assert (first["utilization"], first["power_w"]) == (None, None)
    assert [(each["pid"], each["used_gib"] * 1024) for each in third["processes"]] == [(pid, 102)]
    assert (other["index"], other["mig"]) == (1, None)


@_needs_compiler
def test_a_driver_that_is_reloaded_costs_the_gpus_and_not_the_process(library: Path) -> None:
    _, [before, during, after] = _read(library, "ok", "gone", "ok")
    assert len(before["gpus"]) == 1
    assert (during["gpus"], during["driver"]) == ([], None)
    assert "reloaded" in during["note"]
    assert (len(after["gpus"]), after["driver"], after["note"]) == (1, "999.01", "")


@_needs_compiler
def test_a_driver_that_did_not_answer_is_left_alone_for_a_while(library: Path) -> None:
    _, [_, during, after] = _read(library, "ok", "gone", "ok", interval_s=60)
    assert (after["gpus"], after["note"]) == ([], during["note"])


@_needs_compiler
def test_process_lists_are_read_less_often_than_the_rest(library: Path) -> None:
    _, [first, second] = _read(library, "ok", "denied", interval_s=60)
    assert second["gpus"][0]["memory"] is None
    assert second["gpus"][0]["processes"] == first["gpus"][0]["processes"] != []
    _, [_, fresh] = _read(library, "ok", "denied")
    assert fresh["gpus"][0]["processes"] == []


@_needs_compiler
@pytest.mark.parametrize(
    ("init", "words"),
    [
        (4, "No permission to talk to the NVIDIA driver"),
        (9, "its kernel module is not loaded"),
        (13, "driver is too old"),
        (18, "reboot or reload"),
        (77, "Fake error"),
    ],
)
def test_an_nvml_that_does_not_start_says_why(library: Path, init: int, words: str) -> None:
    _, [box] = _read(library, "ok", init=init)
    assert box["gpus"] == []
    assert words in box["note"]
    assert box["host"]["ram"]["total_gib"] > 0


@_needs_compiler
def test_a_library_without_the_functions_is_too_old(tmp_path: Path) -> None:
    _, [box] = _read(_build(tmp_path, "-DNO_SYMBOLS"), "ok")
    assert (box["gpus"], box["note"]) == ([], "The NVIDIA driver is too old")


@_needs_compiler
def test_a_driver_without_a_gpu_says_so(library: Path) -> None:
    _, [box] = _read(library, "")
    assert (box["gpus"], box["note"]) == ([], "The NVIDIA driver answers, but shows no GPU")


def test_without_a_driver_there_is_a_host_and_a_reason(tmp_path: Path) -> None:
    # An empty file in the way of the real library, so that this holds on a box with a driver too.
    (tmp_path / "libnvidia-ml.so.1").touch()
    _, [box, again] = _read(tmp_path, "ok", "ok")
    assert box["gpus"] == []
    assert "libnvidia-ml.so.1 was not found" in box["note"]
    assert again["note"] == box["note"]


def test_the_first_pid_namespace_is_told_from_a_private_one(tmp_path: Path) -> None:
    first, private = tmp_path / "first", tmp_path / "private"
    first.symlink_to("pid:[4026531836]")
    private.symlink_to("pid:[4026532299]")
    assert private_pid_namespace(first) is False
    assert private_pid_namespace(private) is True
    assert private_pid_namespace(tmp_path / "nowhere") is False


# --- fakes and scenarios ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "name", "count"), [("fake:h200x8", "H200", 8), ("fake:rtx4090x2", "RTX 4090", 2)])
def test_fakes_are_named_by_model_and_count(tmp_path: Path, spec: str, name: str, count: int) -> None:
    box = open_backend(spec, tmp_path).snapshot()
    assert [gpu.index for gpu in box.gpus] == list(range(count))
    assert all(name in gpu.name for gpu in box.gpus)
    assert len({gpu.uuid for gpu in box.gpus}) == count
    assert "fake" in box.note


def test_a_fake_box_without_gpus_is_one_with_a_note(tmp_path: Path) -> None:
    box = open_backend("fake:none", tmp_path).snapshot()
    assert box.gpus == ()
    assert box.note


def test_fakes_repeat_within_a_second_and_move_between_seconds(tmp_path: Path) -> None:
    now = 1_700_000_000.1
    backend = FakeBackend(MODELS["h200"], 8, tmp_path, clock=lambda: now)
    first = backend.snapshot().gpus
    now = 1_700_000_000.4
    assert backend.snapshot().gpus == first
    now = 1_700_000_001.1
    second = backend.snapshot().gpus
    assert second != first
    for before, after in zip(first, second, strict=True):
        assert before.memory and after.memory and before.power_w and after.power_w
        assert abs(before.memory.used_gib - after.memory.used_gib) < 1
        assert abs(before.power_w - after.power_w) < 0.05 * (before.power_limit_w or 0)


@pytest.mark.parametrize("model", MODELS)
def test_fakes_stay_within_what_their_model_can_do(tmp_path: Path, model: str) -> None:
    seconds = iter(range(0, 600, 7))
    backend = FakeBackend(MODELS[model], 8, tmp_path, clock=lambda: next(seconds))
    for _ in range(80):
        for gpu in backend.snapshot().gpus:
            assert gpu.memory and gpu.power_w and gpu.power_limit_w and gpu.utilization is not None
            assert 0 < gpu.memory.used_gib < gpu.memory.total_gib
            assert gpu.memory.used_gib + gpu.memory.free_gib == pytest.approx(gpu.memory.total_gib)
            assert 0 < gpu.power_w <= gpu.power_limit_w
            assert 0 <= gpu.utilization <= 100
            assert sum(each.used_gib or 0 for each in gpu.processes) < gpu.memory.used_gib


def test_some_fakes_are_in_use_by_others_and_the_first_is_free(tmp_path: Path) -> None:
    box = open_backend("fake:h200x4", tmp_path).snapshot()
    assert [len(gpu.processes) for gpu in box.gpus] == [0, 1, 0, 2]
    assert all(each.user and each.name and each.run is None for gpu in box.gpus for each in gpu.processes)


@pytest.mark.parametrize("spec", ["nvlm", "fake:", "fake:h300x8", "fake:h200", "fake:h200x0", "fake:h200x65", ""])
def test_a_spec_that_names_nothing_is_refused_with_a_remedy(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError) as caught:
        open_backend(spec, tmp_path)
    assert repr(spec) in caught.value.message
    assert "fake" in caught.value.hint


_SCENARIO = """
driver: "570.86"
warnings: [one]
gpus:
  - {name: "Big\\x1b[2J", memory: {used_gib: 1, total_gib: 10}, utilization: 5}
  - {name: Small, uuid: GPU-b, processes: [{pid: 7, used_gib: null, user: mira}], throttle: [power limit]}
frames:
  - {at: 5, gpus: [{index: 1, state: lost}]}
  - {at: 9.5, gpus: [{uuid: GPU-b, state: ok, utilization: 50}, {index: 0, utilization: null}]}
"""


def test_a_scenario_plays_its_frames_and_keeps_their_changes(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(_SCENARIO)
    now = 100.0
    backend = ScenarioBackend(read_scenario(file), tmp_path, clock=lambda: now)
    box = backend.snapshot()
    big, small = box.gpus
    assert (box.backend, box.driver, box.warnings) == ("scenario", "570.86", ("one",))
    assert big == Gpu(0, "GPU-scenario-0", "Big�[2J", memory=Memory(1, 9, 10), utilization=5)
    assert small == Gpu(1, "GPU-b", "Small", throttle=("power limit",), processes=(GpuProcess(7, None, "mira"),))
    now = 104.9
    assert backend.snapshot().gpus == box.gpus
    now = 105.0
    assert backend.snapshot().gpus == (big, replace(small, state="lost"))
    now = 900.0
    assert backend.snapshot().gpus == (replace(big, utilization=None), replace(small, utilization=50))


def test_a_scenario_may_be_a_json_list_and_is_opened_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "box"
    file.write_text('[{"name": "One"}]')
    [gpu] = open_backend(str(file), tmp_path).snapshot().gpus
    assert gpu == Gpu(0, "GPU-scenario-0", "One")
    (tmp_path / "box.json").write_text('{"gpus": [], "note": "empty"}')
    box = open_backend(str(tmp_path / "box.json"), tmp_path).snapshot()
    assert (box.gpus, box.note) == ((), "empty")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not YAML"),
        ("7", "the file is not a mapping"),
        ("gpus: {}", "gpus is not a list"),
        ("gpu: []", "unknown key 'gpu'"),
        ("- {index: 0}", "gpus[0] has no name"),
        ("- {name: A, colour: red}", "gpus[0] has an unknown key 'colour'"),
        ("- {name: 5}", "gpus[0].name is 5"),
        ("- {name: A, power_w: .nan}", "gpus[0].power_w is nan"),
        ("- {name: A, utilization: 101}", "gpus[0].utilization is 101"),
        ("- {name: A, index: 1.5}", "gpus[0].index is 1.5"),
        ("- {name: A, state: sad}", "gpus[0].state is 'sad'"),
        ("- {name: A, processes_known: 1}", "gpus[0].processes_known is 1"),
        ("- {name: A, memory: {used_gib: 11, total_gib: 10}}", "gpus[0].memory has more used"),
        ("- {name: A, memory: {used_gib: 1}}", "gpus[0].memory.total_gib is None"),
        ("- {name: A, processes: [{user: x}]}", "gpus[0].processes[0] has no pid"),
        ("[{name: A, uuid: x}, {name: B, uuid: x}]", "same uuid"),
        ("{gpus: [{name: A}], frames: [{at: 3}, {at: 2}]}", "frames[1].at is 2"),
        ("{gpus: [{name: A}], frames: [{gpus: []}]}", "frames[0].at is None"),
        ("{gpus: [{name: A}], frames: [{at: 1, gpus: [{index: 4}]}]}", "no GPU with index 4"),
        ("{gpus: [{name: A}], frames: [{at: 1, gpus: [{state: ok}]}]}", "neither index nor uuid"),
        ("{gpus: [{name: A, index: 0}, {name: B, index: 0}], frames: [{at: 1, gpus: [{index: 0}]}]}", "2 GPUs"),
    ],
)
def test_a_wrong_scenario_is_refused_at_its_place(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        open_backend(str(file), tmp_path)
    assert str(file) in caught.value.message
    assert words in caught.value.message


def test_a_scenario_that_is_not_there_or_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_backend(str(tmp_path / "none.yaml"), tmp_path)
    (tmp_path / "bad.json").write_text("gpus: []")
    with pytest.raises(InputError, match="not JSON"):
        open_backend(str(tmp_path / "bad.json"), tmp_path)


def test_a_scenario_can_tell_every_field_of_a_gpu() -> None:
    assert set(scenario_fields._GPU) == {field.name for field in fields(Gpu)}
    assert set(scenario_fields._PROCESS) == {field.name for field in fields(GpuProcess)}


# --- the host ---------------------------------------------------------------------------------------------------------


def test_the_host_has_memory_and_the_disk_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    host = read_host(tmp_path / "not" / "yet")
    assert host.disk_path == str(tmp_path)
    assert host.disk.total_gib == pytest.approx(shutil.disk_usage(tmp_path).total / 1024**3)
    assert 0 < host.ram.free_gib < host.ram.total_gib
    assert host.ram.used_gib + host.ram.free_gib == pytest.approx(host.ram.total_gib)
    assert 0 <= host.cpu_percent <= 100
    assert host.cpu_count >= 1
    assert not (tmp_path / "not").exists()


def test_the_limit_of_a_container_is_the_memory_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = psutil.virtual_memory().total // 2
    monkeypatch.setattr("trainer.devices.host.cgroup_memory", lambda: CgroupMemory(half, half))
    full = read_host(tmp_path)
    assert full.ram.total_gib == pytest.approx(half / 1024**3)
    assert full.ram.free_gib == 0
    # A limit above what the machine has limits nothing.
    monkeypatch.setattr("trainer.devices.host.cgroup_memory", lambda: CgroupMemory(9 * half, 1))
    assert read_host(tmp_path).ram.total_gib == pytest.approx(psutil.virtual_memory().total / 1024**3)


def _file(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_tightest_memory_limit_of_cgroup_v2_holds(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    _file(tmp_path / "proc/self/cgroup", "0::/job/step\n")
    _file(top / "job/step/memory.max", "max\n")
    _file(top / "job/step/memory.current", "10\n")
    assert cgroup_memory(tmp_path) is None
    _file(top / "job/memory.max", "1000\n")
    _file(top / "job/memory.current", "700\n")
    _file(top / "job/memory.stat", "anon 300\ninactive_file 250\n")
    assert cgroup_memory(tmp_path) == CgroupMemory(1000, 450)


def test_memory_limits_of_cgroup_v1_hold_inside_a_container_too(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup/memory"
    # The path is the host's; the container sees its own group at the top.
    _file(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n")
    _file(top / "memory.limit_in_bytes", "2000\n")
    _file(top / "memory.usage_in_bytes", "900\n")
    _file(top / "memory.stat", "total_inactive_file 100\n")
    assert cgroup_memory(tmp_path) == CgroupMemory(2000, 800)
    assert cgroup_memory(tmp_path / "nowhere") is None


def test_a_container_and_wsl_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("container", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    _file(tmp_path / "proc/sys/kernel/osrelease", "6.8.0-generic\n")
    _file(tmp_path / "proc/1/cgroup", "0::/init.scope\n")
    assert (in_container(tmp_path), in_wsl(tmp_path)) == (False, False)
    _file(tmp_path / "proc/sys/kernel/osrelease", "5.15.153.1-Microsoft-standard-WSL2\n")
    _file(tmp_path / "proc/1/cgroup", "4:memory:/docker/ab\n")
    assert (in_container(tmp_path), in_wsl(tmp_path)) == (True, True)
    _file(tmp_path / "proc/1/cgroup", "0::/\n")
    _file(tmp_path / ".dockerenv", "")
    assert in_container(tmp_path) is True


# --- the sampler ------------------------------------------------------------------------------------------------------


class _Script:
    """A backend that plays its answers and repeats the last one; an exception is raised."""

    def __init__(self, *answers: Snapshot | Exception) -> None:
        self.answers = list(answers)
        self.taken = 0
        self.threads: set[int] = set()
        self.closed = False

    def snapshot(self) -> Snapshot:
        answer = self.answers[min(self.taken, len(self.answers) - 1)]
        self.taken += 1
        self.threads.add(threading.get_ident())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


def _box(taken_at: float) -> Snapshot:
    nothing = Memory(0, 0, 0)
    return Snapshot(taken_at, (), Host("box", 0, 1, nothing, nothing, "/"), warnings=("hot",))


def _until(condition: Any) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_the_sampler_survives_a_failure_and_keeps_the_last_snapshot() -> None:
    backend = _Script(_box(1), RuntimeError("bus\x1b[2J"), RuntimeError("bus"), RuntimeError("bus"))
    sampler = Sampler(backend, interval_s=0.005)
    assert sampler.latest is None
    sampler.start()
    _until(lambda: backend.taken >= 5)
    sampler.stop()
    assert sampler.latest is not None
    assert sampler.latest.taken_at == 1  # old, and seen to be old
    assert sampler.latest.warnings == ("hot", "The GPUs could not be read: bus")
    assert "bus" in sampler.error


def test_the_sampler_recovers_and_starts_without_a_first_snapshot() -> None:
    backend = _Script(RuntimeError("first"), _box(2))
    sampler = Sampler(backend, interval_s=0.005)
    sampler.start()
    _until(lambda: sampler.latest is not None)
    sampler.stop()
    assert sampler.latest == _box(2)
    assert sampler.error == ""


def test_the_sampler_stops_starts_again_and_uses_one_thread_at_a_time() -> None:
    backend = _Script(_box(1))
    sampler = Sampler(backend, interval_s=0.005)
    sampler.stop()  # nothing to stop yet
    sampler.start()
    sampler.start()
    _until(lambda: backend.taken >= 3)
    assert len(backend.threads) == 1
    started = time.monotonic()
    sampler.stop()
    assert time.monotonic() - started < 1
    taken = backend.taken
    time.sleep(0.05)
    assert (backend.taken, backend.closed) == (taken, False)
    sampler.start()
    _until(lambda: backend.taken > taken)
    sampler.stop()


def test_a_slow_interval_does_not_hold_up_the_stop() -> None:
    backend = _Script(_box(1))
    sampler = Sampler(backend, interval_s=60)
    sampler.start()
    _until(lambda: backend.taken == 1)
    started = time.monotonic()
    sampler.stop()
    assert time.monotonic() - started < 1


# --- burnish gpus -----------------------------------------------------------------------------------------------------


def _gpus(home: Path, devices: str, *options: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices")
    parser.add_argument("--home", type=Path)
    gpus.add_arguments(parser)
    return gpus.run(parser.parse_args(["--devices", devices, "--home", str(home), *options]))


def test_gpus_prints_exactly_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(_SCENARIO)
    assert _gpus(tmp_path, str(file), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"devices", "host", "note"}
    big, small = told["devices"]
    assert big["memory"] == {"used_gib": 1.0, "free_gib": 9.0, "total_gib": 10.0}
    assert (big["index"], big["uuid"], big["utilization"], big["power_w"]) == (0, "GPU-scenario-0", 5, None)
    assert (small["memory"], small["temperature_c"]) == (None, None)
    assert small["processes"] == [{"pid": 7, "used_gib": None, "user": "mira", "name": None, "run": None}]
    assert told["host"]["disk_path"] == str(tmp_path)
    assert told["note"] == "one"


def test_gpus_prints_a_table_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(_SCENARIO)
    assert _gpus(tmp_path, str(file)) == 0
    out = capsys.readouterr().out
    head, big, small, process, host, note = out.splitlines()
    assert head.split()[:2] == ["GPU", "NAME"]
    assert "1.0 / 10.0" in big and "5 %" in big
    assert "Small" in small and "power limit" in small
    assert process.split() == ["pid", "7", "mira", "?", "memory", "unknown"]
    assert str(tmp_path) in host
    assert note == "one"
    assert "\x1b" not in out


def test_gpus_without_a_gpu_says_why_and_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _gpus(tmp_path, "fake:none") == 0
    assert "No GPU" in capsys.readouterr().out
    with pytest.raises(InputError):
        _gpus(tmp_path, "fake:nothing")


def test_the_room_needs_neither_torch_nor_textual() -> None:
    code = (
        "import sys, trainer.devices.backend as b, trainer.devices.sampler, tui.commands.gpus; from pathlib import Path;"
        "[b.open_backend(s, Path('/')).snapshot() for s in ('nvml', 'fake:h200x1')];"
        "print(*({'torch', 'textual', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")

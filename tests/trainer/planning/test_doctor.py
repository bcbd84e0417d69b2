"""The doctor names what a box lacks, with a remedy, and fails only on what nothing can be trained without."""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from recipes.errors import InputError
from trainer.devices.backend import open_backend
from trainer.devices.model import Host, Memory
from trainer.planning.doctor import Check, checks, disk, logout
from tui.commands import doctor


@pytest.fixture(autouse=True)
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, no hub, and a folder from which the doctor's own interpreter imports first, with libraries in it."""
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))
    have_torch(tmp_path, "2.99.0+cpu", None, False)
    have(tmp_path, "bitsandbytes", "__version__ = '0.50.0'")
    return tmp_path


def have(box: Path, module: str, code: str) -> None:
    (box / "first").mkdir(exist_ok=True)
    (box / "first" / f"{module}.py").write_text(code)


def have_torch(box: Path, version: str, cuda: str | None, sees: bool) -> None:
    """A library with torch's name: what a CPU build, a CUDA build, a blind one say of themselves."""
    have(
        box,
        "torch",
        f"class version: cuda = {cuda!r}\nclass cuda: is_available = staticmethod(lambda: {sees})\n"
        f"__version__ = {version!r}\n",
    )


def have_version(box: Path, monkeypatch: pytest.MonkeyPatch, package: str, version: str) -> None:
    """A package found before the installed one, of another version."""
    info = box / "versions" / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(box / "versions"))


def found(devices: str = "fake:none") -> dict[str, Check]:
    return {check.name: check for check in checks(devices)}


def test_a_box_without_gpu_can_train_small_models() -> None:
    told = found("fake:none")
    assert not [check for check in told.values() if check.status == "fail"]
    assert told["gpu"].status == "warn" and "trains on CPU, only small models" in told["gpu"].detail
    assert told["torch"].status == "ok" and "CPU build" in told["torch"].detail


def test_a_cpu_build_of_torch_on_a_gpu_box_is_worth_a_warning() -> None:
    told = found("fake:h200x8")
    assert told["gpu"] == Check("gpu", "ok", "8 x NVIDIA H200, driver fake")
    assert told["torch"].status == "warn" and "CPU build" in told["torch"].detail
    assert "pip install --force-reinstall torch" in told["torch"].remedy


@pytest.mark.parametrize(
    ("driver", "cuda", "sees", "status", "said"),
    [
        ("580.65.06", "13.0", True, "ok", "CUDA 13.0"),
        ("550.54", "13.0", False, "warn", "driver 550 is too old"),
        ("550.54", "12.8", False, "warn", "sees no GPU"),
    ],
)
def test_torch_is_held_against_the_driver(
    box: Path, driver: str, cuda: str, sees: bool, status: str, said: str
) -> None:
    (box / "box.json").write_text(json.dumps({"driver": driver, "gpus": [{"index": 0, "name": "NVIDIA H200"}]}))
    have_torch(box, "2.99.0", cuda, sees)
    told = found(str(box / "box.json"))["torch"]
    assert told.status == status and said in told.detail
    assert (told.remedy == "") == (status == "ok")


def test_a_lost_gpu_is_named(box: Path) -> None:
    (box / "box.json").write_text(json.dumps([{"name": "NVIDIA H200"}, {"name": "NVIDIA H200", "state": "lost"}]))
    told = found(str(box / "box.json"))["gpu"]
    assert told.status == "warn" and "GPU 1 is lost" in told.detail


def test_a_torch_that_cannot_be_imported_fails(box: Path) -> None:
    have(box, "torch", "raise ImportError('libcudart.so.13: cannot open shared object file')")
    told = found()["torch"]
    assert told.status == "fail" and "libcudart.so.13" in told.detail and told.remedy


def test_a_torch_that_dies_while_it_is_imported_fails(box: Path) -> None:
    have(box, "torch", "import os; os.abort()")
    told = found()["torch"]
    assert told.status == "fail" and "ended with -6" in told.detail


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ModuleNotFoundError('no', name='bitsandbytes')", "not installed"),
        ("raise RuntimeError('CUDA Setup failed')", "cannot be imported: RuntimeError: CUDA Setup failed"),
        ("import os; os.abort()", "cannot be imported: it ended with -6"),
    ],
)
def test_without_bitsandbytes_only_qlora_is_missing(box: Path, code: str, said: str) -> None:
    have(box, "bitsandbytes", code)
    told = found()
    assert told["bitsandbytes"].status == "warn" and said in told["bitsandbytes"].detail
    assert "pip install 'burnish[quant]'" in told["bitsandbytes"].remedy
    assert told["torch"].status == "ok"


def test_versions_out_of_range_are_named_with_the_command_that_mends_them(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found()["packages"].status == "ok"
    have_version(box, monkeypatch, "trl", "0.9.1")
    have_version(box, monkeypatch, "bitsandbytes", "0.40.0")
    told = found()
    assert told["packages"].status == "fail" and "trl 0.9.1 is not" in told["packages"].detail
    assert told["packages"].remedy.startswith("pip install 'trl") and "bitsandbytes" not in told["packages"].detail
    assert told["bitsandbytes"].status == "warn" and "0.40.0" in told["bitsandbytes"].detail


class _Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/" else 503)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), _Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_hub_is_asked_where_it_may_be(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    assert found()["hub"] == Check("hub", "ok", hub)
    monkeypatch.setenv("HF_ENDPOINT", f"{hub}/broken")
    told = found()["hub"]
    assert told.status == "warn" and "Service Unavailable" in told.detail
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = found()["hub"]
    assert told.status == "ok" and "HF_HUB_OFFLINE" in told.detail


def test_a_hub_that_never_answers_costs_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        told = found()["hub"]
    assert told.status == "warn" and "HF_HUB_OFFLINE=1" in told.remedy and "HF_ENDPOINT" in told.remedy
    assert time.monotonic() - began < 20


def test_a_token_is_found_and_never_shown(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(box / "hf"))
    assert found()["hub token"].status == "warn"
    (box / "hf").mkdir()
    (box / "hf" / "token").write_text("hf_secret")
    assert found()["hub token"].status == "ok"
    (box / "hf" / "token").unlink()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told = found()
    assert told["hub token"].status == "ok" and "hf_secret" not in str(told)


@pytest.fixture
def host(box: Path) -> Host:
    snapshot = open_backend("fake:none").snapshot()
    return replace(snapshot.host, disk=Memory(0, 100, 100), disk_path=str(box))


def test_a_network_disk_is_a_warning_and_its_neighbours_are_not(box: Path, host: Host) -> None:
    local = [("/", "ext4"), (f"{box}-other", "nfs4"), (str(box)[:-1], "nfs4")]
    assert disk(host, local).status == "ok"
    told = disk(host, [*local, (str(box), "nfs4")])
    assert told.status == "warn" and "nfs4" in told.detail and "BURNISH_HOME" in told.remedy
    assert disk(host, [("/", "nfs4"), (str(box.parent), "xfs")]).status == "ok"
    assert disk(host, [("/", "ext4"), (str(box), "autofs"), (str(box), "nfs4")]).status == "warn"


@pytest.mark.parametrize(("free_gib", "status"), [(0.4, "fail"), (3.0, "warn"), (50.0, "ok")])
def test_a_small_disk_is_told(host: Host, free_gib: float, status: str) -> None:
    assert disk(replace(host, disk=Memory(0, free_gib, 100)), [("/", "ext4")]).status == status


def test_a_home_that_cannot_be_written_fails(host: Host) -> None:
    told = disk(replace(host, disk_path="/proc/nothing"), [("/", "ext4")])
    assert told.status == "fail" and "BURNISH_HOME" in told.remedy


def test_a_system_that_kills_at_logout_is_told(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mira")
    etc = box / "etc/systemd"
    (etc / "logind.conf.d").mkdir(parents=True)
    assert logout(box).status == "ok"
    (etc / "logind.conf").write_text("[Login]\n#KillUserProcesses=yes\n")
    assert logout(box).status == "ok"
    (etc / "logind.conf").write_text("[Login]\nKillUserProcesses = yes\n")
    assert logout(box) == Check(
        "logout", "warn", "logging out would kill runs: systemd is set to it", "loginctl enable-linger"
    )
    (etc / "logind.conf.d/50-ours.conf").write_text("[Login]\nKillUserProcesses=no\n")
    assert logout(box).status == "ok"
    (etc / "logind.conf.d/60-theirs.conf").write_text("[Login]\nKillUserProcesses=true\n")
    (etc / "logind.conf.d/70-other.conf").write_text("[Login]\nHandleLidSwitch=ignore\n")
    assert logout(box).status == "warn"
    (box / "var/lib/systemd/linger").mkdir(parents=True)
    (box / "var/lib/systemd/linger/mira").touch()
    assert logout(box).status == "ok"


def test_the_terminal_says_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert found()["terminal"].status == "warn"
    monkeypatch.setenv("TERM", "screen-256color")
    assert "256 colours" in found()["terminal"].detail
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert "16 million colours" in found()["terminal"].detail


def test_a_pocket_model_is_seen(box: Path) -> None:
    from trainer.pocket import cache

    assert found()["pocket model"].detail == "not built yet"
    cache.folder(box / "home").mkdir(parents=True)
    (cache.folder(box / "home") / "pocket.json").write_text("{}")
    assert found()["pocket model"].detail == "built"


def test_a_wrong_device_spec_is_refused() -> None:
    with pytest.raises(InputError):
        found("fake:toaster")


def _command(*options: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    args = parser.parse_args(options)
    args.devices = "fake:none"
    return doctor.run(args)


def test_the_command_prints_one_object_and_exits_by_it(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _command("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {key for check in told["checks"] for key in check} == {"name", "status", "detail", "remedy"}
    have(box, "torch", "raise ImportError('no')")
    assert _command("--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_command_prints_a_remedy_below_what_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert _command() == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("warn  gpu"))
    assert "install the NVIDIA driver" in lines[at + 1]

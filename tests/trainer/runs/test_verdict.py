"""What a trainer printed before it went away, told in plain words."""

from __future__ import annotations

import pytest

from trainer.errors import DatasetError, NonFiniteLoss
from trainer.runs import verdict as verdicts

LAST_LINES = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.95 GiB.", "oom-gpu"),
    ("RuntimeError: CUDA error: out of memory", "oom-gpu"),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "oom-gpu"),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory", "oom-host"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "oom-host"),
    ("OSError: [Errno 28] No space left on device: 'checkpoint-20'", "disk-full"),
    ("OSError: [Errno 122] Disk quota exceeded", "disk-full"),
    ("OSError: You are trying to access a gated repo.", "bad-model"),
    ("RuntimeError: CUDA error: an illegal memory access was encountered", "error"),
    ("KeyError: 'whatever'", "error"),
]


@pytest.mark.parametrize(("line", "kind"), LAST_LINES)
def test_the_cause_is_read_from_the_last_lines(line: str, kind: str) -> None:
    verdict = verdicts.of_exit(1, ["Traceback (most recent call last):", line], killed_by=None, oom_kills=0)
    assert (verdict.kind, verdict.signal) == (kind, None)
    assert verdict.exit_code == 1
    assert verdict.message and verdict.hint
    assert verdict.log[-1] == line


def test_a_signal_has_its_name() -> None:
    for number, name in ((11, "SIGSEGV"), (7, "SIGBUS"), (200, "signal 200")):
        verdict = verdicts.of_exit(-number, [], killed_by=None, oom_kills=0)
        assert (verdict.kind, verdict.signal) == ("killed", name)
        assert name in verdict.message


def test_who_stopped_it_counts_only_for_the_signal_that_was_sent() -> None:
    assert verdicts.of_exit(-9, [], killed_by="me@box", oom_kills=1).kind == "stopped-now"
    assert verdicts.of_exit(-11, [], killed_by="me@box", oom_kills=0).kind == "killed"
    assert verdicts.of_exit(0, [], killed_by="me@box", oom_kills=0).kind == "error"


def test_our_own_errors_keep_their_words() -> None:
    for error, kind, code in (
        (DatasetError("bad row", "mend it"), "bad-data", 2),
        (NonFiniteLoss("NaN"), "nonfinite", 1),
    ):
        verdict = verdicts.of_exception(error, [])
        assert (verdict.kind, verdict.message, verdict.hint) == (kind, error.message, error.hint)
        assert verdict.exit_code == code


def test_an_exception_without_words_is_named() -> None:
    assert verdicts.of_exception(KeyboardInterrupt(), []).message.startswith("KeyboardInterrupt")


def test_the_log_is_short_and_harmless() -> None:
    lines = [f"line {number}" for number in range(100)] + ["", "  ", "x" * 5000, " 45%|####  | 9/20 [00:01<00:02]"]
    log = verdicts.useful_lines([*lines, "start\rend \x1b]0;title\x07"])
    assert len(log) == 12
    assert max(map(len, log)) == 300
    assert log[-1].startswith("end ") and "\x1b" not in log[-1] and "\x07" not in log[-1]
    assert log[-3:-1] == ("line 99", "x" * 300)

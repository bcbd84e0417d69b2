"""One guarded question to NVML at a time, and its failures in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from trainer.text import one_line

# Codes of nvml.h, by number: a `pynvml` that lacks a newer name must not break an older driver.
UNINITIALIZED = 1
NOT_SUPPORTED = 3
_NO_PERMISSION = 4
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
_GPU_IS_LOST = 15
_VERSION_MISMATCH = 18
_GPU_NOT_FOUND = 28
_UNKNOWN = 999

_WORDS = {
    NOT_SUPPORTED: "not supported by this GPU",
    _NO_PERMISSION: "no permission to talk to the NVIDIA driver",
    2: "the driver does not know this question for this GPU",
    6: "not found",
    8: "the GPU has no external power",
    _DRIVER_NOT_LOADED: "the NVIDIA driver is installed, but its kernel module is not loaded",
    10: "the driver did not answer in time",
    11: "the GPU has an interrupt problem",
    _LIBRARY_NOT_FOUND: "the driver library libnvidia-ml.so.1 was not found: there is no NVIDIA driver on this box, "
    "or this container was started without its GPUs",
    FUNCTION_NOT_FOUND: "the NVIDIA driver is too old",
    _GPU_IS_LOST: "the GPU is lost: it fell off the bus or stopped answering",
    16: "the GPU needs a reset",
    17: "the operating system refused the request to the driver",
    _VERSION_MISMATCH: "the NVIDIA driver was updated, but the old kernel module is still loaded: reboot or reload it",
    _GPU_NOT_FOUND: "the NVIDIA driver found no GPU",
    _UNKNOWN: "the driver reports an unknown error",
}


class GpuLost(Exception):
    """The GPU that was asked is gone; the others may still answer."""


class DriverGone(Exception):
    """NVML as a whole no longer answers: the driver was unloaded or reloaded under us."""


class Answer(NamedTuple):
    """What NVML said: a value, or None with the error code and that code in words."""

    value: Any
    code: int = 0
    words: str = ""


class Query:
    """Asks `pynvml` functions by name and turns their failures into answers."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def ask(self, function: str, *arguments: Any) -> Answer:
        """The answer of one NVML function, in NVML's own units. Raises GpuLost or DriverGone, nothing else of NVML."""
        call = getattr(self._nvml, function, None)
        if call is None:
            return Answer(None, FUNCTION_NOT_FOUND, _WORDS[FUNCTION_NOT_FOUND])
        try:
            return Answer(call(*arguments))
        except self._nvml.NVMLError as error:
            code = _code(error)
            words = failure_in_words(error)
            if code == _GPU_IS_LOST:
                raise GpuLost(words) from error
            if code == UNINITIALIZED:
                raise DriverGone("The NVIDIA driver was reloaded; it is asked again in a moment") from error
            return Answer(None, code, words)
        except UnicodeDecodeError:
            return Answer(None, _UNKNOWN, "the driver gave a text that is not UTF-8")

    def number(self, function: str, *arguments: Any) -> int | None:
        """A plain number, or None where the driver does not tell it."""
        value = self.ask(function, *arguments).value
        return None if value is None else int(value)

    def text(self, function: str, *arguments: Any) -> str | None:
        """A text made safe to show, or None where the driver does not tell it."""
        value = self.ask(function, *arguments).value
        return None if value is None else one_line(str(value))

    def constant(self, name: str, otherwise: int) -> int:
        """A constant of `pynvml`, or `otherwise` where this version of it has no such name."""
        return int(getattr(self._nvml, name, otherwise))

    def mig_handles(self, parent: Any) -> list[Any]:
        """The handles of the MIG slices that exist on a GPU, in the order of the driver."""
        places = self.number("nvmlDeviceGetMaxMigDeviceCount", parent) or 0
        answers = (self.ask("nvmlDeviceGetMigDeviceHandleByIndex", parent, place) for place in range(places))
        return [answer.value for answer in answers if answer.value is not None]  # a place may be empty

    def quietly(self, function: str) -> None:
        """Calls a function whose failure changes nothing, such as the shutdown of a driver that is gone."""
        try:
            self.ask(function)
        except (GpuLost, DriverGone):
            return


def failure_in_words(error: Exception) -> str:
    """Why NVML failed, as a sentence for a person: of our own where the code is known, else in the driver's words."""
    words = _WORDS.get(_code(error)) or one_line(str(error), 200)
    return words[:1].upper() + words[1:]


def _code(error: Exception) -> int:
    return int(getattr(error, "value", _UNKNOWN))

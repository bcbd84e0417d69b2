"""The reward `function`: a function from the user's own file, called with a batch. Runs in the rewards' process only."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.rewards import Function
from trainer.rewards.score import FailureKind, Score, short
from trainer.text import one_line

_MESSAGE = 400  # characters of a message or reason that are kept


class BatchFailed(Exception):
    """A call gave nothing that can be used for any of its completions."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def load(block: Function) -> Callable[..., Any]:
    """The user's function, its file executed and the file's folder importable. Raises BatchFailed."""
    path = Path(block.file).expanduser().resolve()
    name = f"burnish_reward_{path.stem}"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        function = getattr(module, block.name)
    except BaseException as error:  # the file may raise anything, SystemExit too
        raise BatchFailed("raised", f"{path.name} cannot be loaded: {_told(error, path)}") from error
    if not callable(function):
        raise BatchFailed("raised", f"`{block.name}` in {path.name} is no function")
    return function  # type: ignore[no-any-return]


def call(
    block: Function,
    function: Callable[..., Any],
    prompts: Sequence[str],
    completions: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
) -> list[Score | str]:
    """A score for each completion, or what is wrong with it where it is no number. Raises BatchFailed."""
    path = Path(block.file).expanduser().resolve()
    try:
        given = {**columns, "prompts": prompts, "completions": completions}
        result = function(**_accepted(function, given))
        items = None if isinstance(result, str | bytes | Mapping) else list(result)
    except BaseException as error:
        raise BatchFailed("raised", _told(error, path)) from error
    if items is None or len(items) != len(completions):
        got = f"{len(items)}" if items is not None else f"a {type(result).__name__}"
        raise BatchFailed("wrong-length", f"`{block.name}` gave {got} for {len(completions)} completions")
    return [_score(block, item) for item in items]


def _accepted(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}


def _score(block: Function, item: Any) -> Score | str:
    value, reason = item if isinstance(item, tuple | list) and len(item) == 2 else (item, "")
    if value is None:
        return Score(None, one_line(str(reason), _MESSAGE) or f"`{block.name}` gave None")
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except Exception:  # whatever a foreign object raises
        number = math.nan
    if not math.isfinite(number):
        return f"`{block.name}` gave {short(repr(value))}, which is no number"
    return Score(number, one_line(str(reason), _MESSAGE) or f"`{block.name}` gave {number:g}")


def _told(error: BaseException, path: Path) -> str:
    """An exception with the place in the user's file, or the innermost place where that file is not in it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path]
    place = (own or frames)[-1] if frames else None
    if isinstance(error, SyntaxError) and error.lineno is not None:
        where = f" ({Path(error.filename or '').name} line {error.lineno})"
    else:
        where = f" ({Path(place.filename).name} line {place.lineno}, in {place.name})" if place else ""
    try:
        message = str(error)
    except Exception:
        message = ""
    return one_line(f"{type(error).__name__}: {message}".removesuffix(": "), _MESSAGE) + where

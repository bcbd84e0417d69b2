"""Completions that deserve nothing and that a policy would find if they paid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recipes.rewards import Json, JsonAnswer, PythonTests, Reward, Tags, ToolCall
from trainer.rewards.completions import Completion, Task
from trainer.rewards.json_value import NotJson
from trainer.rewards.references import schema_of, skeleton
from trainer.rewards.tool_call import NoCall, calls_of

_PROMPTS = 8  # that each probe answers
_FILLER = "Let me think about this step by step. "


@dataclass(frozen=True)
class Probe:
    """One trick, played on several prompts. `hint`: what to do where it pays.

    `honest`: it takes the right answer, so it is no way around learning, only a bad habit.
    """

    name: str
    hint: str
    completions: list[Completion]
    honest: bool = False


class _Trick(NamedTuple):
    name: str
    hint: str
    said: Callable[[Task], str | None]
    honest: bool = False


def probes(rewards: Mapping[str, Reward], tasks: Sequence[Task], room: int) -> list[Probe]:
    """The probes that fit the rewards; `room` is how many characters the policy may say."""
    found = []
    for trick in [*_general(tasks, room), *_of_format(rewards, tasks)]:
        said = [(task, trick.said(task)) for task in tasks[:_PROMPTS]]
        completions = [Completion(task, at, text) for at, (task, text) in enumerate(said) if text is not None]
        if completions:
            found.append(Probe(trick.name, trick.hint, completions, trick.honest))
    return found


def _general(tasks: Sequence[Task], room: int) -> Iterator[_Trick]:
    yield _Trick(
        "empty", "a completion that says nothing has to score less: look for an answer in it first", _always("")
    )
    yield _Trick(
        "the prompt echoed",
        "the answer is found in the prompt: say which part of the completion counts, as `extract` does",
        lambda task: task.text[:room],
    )
    yield _Trick(
        "numbers 1..100",
        "any number that is found counts: let one count, the last or the one that `extract` names",
        _always(" ".join(map(str, range(1, 101)))),
    )
    yield _Trick(
        "long and empty",
        "length itself pays: add a reward of kind length, and look for what else grows with it",
        _always((_FILLER * (room // len(_FILLER) + 1))[:room]),
    )
    yield _Trick(
        "another row's answer",
        "the row's own answer does not decide: check which column the rewards read",
        lambda task: _other_than(task, tasks),
    )
    yield _Trick(
        "the answer repeated",
        "nothing stops a policy that repeats itself: a reward of kind length would",
        lambda task: _repeated(task.reference, room),
        honest=True,
    )


def _of_format(rewards: Mapping[str, Reward], tasks: Sequence[Task]) -> Iterator[_Trick]:
    """What satisfies the rewards of form, and says nothing."""
    hint = "the form alone pays as much as the answer: give what is right a larger weight"
    blocks = list(rewards.values())
    if any(isinstance(block, Json | JsonAnswer) for block in blocks):
        yield _Trick("{}", hint, _always("{}"))
        yield _Trick("the form alone", hint, lambda task: _form(blocks, task))
    for tags in [block.tags for block in blocks if isinstance(block, Tags)][:1]:
        yield _Trick("empty tags", hint, _always("".join(f"<{tag}></{tag}>" for tag in tags)))
        yield _Trick("tags around anything", hint, _always("".join(f"<{tag}>ok</{tag}>" for tag in tags)))
    for block in [block for block in blocks if isinstance(block, ToolCall)][:1]:
        call = _commonest_call(block, tasks)
        yield _Trick("always the same tool", "the tool alone pays: give its arguments more weight", _always(call))
    if any(isinstance(block, PythonTests) for block in blocks):
        code = "```python\nimport os\nos._exit(0)\n```"
        yield _Trick("code that ends at once", "a program that only ends counts as one that passes", _always(code))


def _always(text: str | None) -> Callable[[Task], str | None]:
    return lambda _: text


def _other_than(task: Task, tasks: Sequence[Task]) -> str | None:
    """The right answer of another row, the last that has another one."""
    return next((one.reference for one in reversed(tasks) if one.reference not in (None, task.reference)), None)


def _repeated(answer: str | None, room: int) -> str | None:
    """A right answer as often as there is room for, twice at least."""
    return None if answer is None else "\n".join([answer] * max(room // (len(answer) + 1), 2))


def _form(blocks: Sequence[Reward], task: Task) -> str:
    form: dict[str, object] = {}
    for block in blocks:
        if isinstance(block, Json) and isinstance(least := skeleton(schema_of(block, task.columns)), dict):
            form |= least
        if isinstance(block, JsonAnswer):
            form.setdefault(block.field, "")
    return json.dumps(form, default=str)


def _commonest_call(block: ToolCall, tasks: Sequence[Task]) -> str | None:
    """A call of the tool that the rows ask for most, without arguments."""
    names: Counter[str] = Counter()
    for task in tasks:
        try:
            names.update(call.name for call in calls_of(task.columns.get(block.answer)))
        except (NoCall, NotJson):
            continue
    if not names:
        return None
    call = json.dumps({"name": names.most_common(1)[0][0], "arguments": {}})
    return f"<tool_call>\n{call}\n</tool_call>"

"""The rewards of a recipe: one typed block a kind, each a pure function of text in `trainer/rewards/`.

A reward of `weight: 0` is a check: it is measured and shown and teaches nothing, so that one can see whether what is
rewarded and what is wanted still move together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from recipes.block import Block, Positive


class RewardBlock(Block):
    """What every reward has."""

    weight: float = Field(1.0, description="factor in the sum that is learned from; 0 measures without teaching")
    on_error: Literal["skip", "zero", "stop"] = Field(
        "skip",
        description="after the retries: skip leaves the completion unscored, zero scores it 0, stop saves and ends",
    )
    retries: Annotated[int, Field(ge=0, le=10)] = Field(1, description="times a call that failed is tried again")
    timeout_s: Annotated[float, Field(gt=0)] = Field(10.0, description="seconds that one completion may take")


class Numeric(RewardBlock):
    """1 where the completion's number or expression equals the answer (math-verify), else 0."""

    kind: Literal["numeric"]
    answer: str = Field("answer", description="column with the right answer; text before a last #### is ignored")
    extract: str | None = Field(
        None,
        description="regular expression whose first group is the completion's answer, its last match counts; "
        "none: \\boxed{}, what follows ####, what follows `answer is`, or the last number",
    )


class Match(RewardBlock):
    """1 where the completion is the answer, else 0."""

    kind: Literal["match"]
    answer: str = Field("answer", description="column with the right answer, or a list of right answers")
    normalise: bool = Field(True, description="ignore case, outer punctuation, articles and runs of white space")
    extract: str | None = Field(
        None, description="regular expression whose first group is compared, its last match counts; none: all of it"
    )


class Regex(RewardBlock):
    """1 where the pattern is found in the completion, else 0."""

    kind: Literal["regex"]
    pattern: str = Field(description="Python regular expression, searched with DOTALL")
    full: bool = Field(False, description="the whole completion has to match")


class Json(RewardBlock):
    """1 where the completion is JSON, and fits the schema where one is given, else 0."""

    kind: Literal["json"]
    json_schema: dict[str, Any] | None = Field(None, description="JSON Schema that the value has to fit")
    column: str | None = Field(
        None, description="column with a JSON Schema of the row's own; a row without one goes by json_schema"
    )


class JsonAnswer(RewardBlock):
    """1 where the completion is a JSON object whose field equals the answer, else 0. 3 is 3.0; "3" is not."""

    kind: Literal["json_answer"]
    field: str = Field("answer", description="field of the completion's object")
    answer: str = Field("answer", description="column with the right value")


class ToolCall(RewardBlock):
    """1 for the right tool with the right arguments, 0.5 for the right tool, else 0. Of several calls: all of them."""

    kind: Literal["tool_call"]
    answer: str = Field("tool_calls", description="column with the expected call: {name, arguments} or a list of them")


class Tags(RewardBlock):
    """The share of the tags that stand once, in order and with text inside."""

    kind: Literal["tags"]
    tags: list[str] = Field(["think", "answer"], description="tags that the completion has to have, in order")


class Length(RewardBlock):
    """0 up to `soft` characters, falling to -1 at `hard` (DAPO's soft overlong punishment, in characters)."""

    kind: Literal["length"]
    soft: Positive = Field(1000, description="characters that cost nothing")
    hard: Positive = Field(2000, description="characters from which on the penalty is 1")


class PythonTests(RewardBlock):
    """The share of the row's tests that the completion's code passes, each run in a sandbox."""

    kind: Literal["python_tests"]
    tests: str = Field("test", description="column with Python asserts as text or a list, or stdin/stdout pairs")
    memory_mib: Positive = Field(512, description="memory of the code at most")
    processes: Positive = Field(16, description="processes and threads of the code at most")
    output_kib: Positive = Field(64, description="output that is read at most")
    unsandboxed: bool = Field(
        False, description="run generated code without a sandbox where the box has none; only for code that you trust"
    )


class Function(RewardBlock):
    """Your own function from a file: f(prompts, completions, **columns) -> a score, None or (score, reason) for each.

    It is called by keyword with a whole batch, in the rewards' process, and gets the columns that it has parameters for.
    """

    kind: Literal["function"]
    file: str = Field(description="Python file")
    name: str = Field("reward", description="function in the file")


class RewardModel(RewardBlock):
    """The score of a reward model."""

    kind: Literal["model"]
    base: str = Field(description="run:ID of a reward-model run, or a folder with a sequence classification model")


Reward = Annotated[
    Numeric | Match | Regex | Json | JsonAnswer | ToolCall | Tags | Length | PythonTests | Function | RewardModel,
    Field(discriminator="kind"),
]


def column(reward: RewardBlock) -> str | None:
    """The column of the rows that a reward reads, or None. A function reads any: its parameters say which."""
    match reward:
        case Numeric() | Match() | JsonAnswer() | ToolCall():
            return reward.answer
        case Json():
            return reward.column
        case PythonTests():
            return reward.tests
    return None

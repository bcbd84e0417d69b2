"""What the methods share that draw completions and score them: rows, rewards, and a trainer whose steps are timed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recipes.rewards import Reward, RewardModel
from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.datasets.turns import text_of
from trainer.rewards.score import Failure, RewardError, Score
from trainer.rewards.service import RewardService
from trainer.worker.clock import StepClock
from trainer.worker.data import Rows
from trainer.worker.methods.common import Scene
from trainer.worker.scorer import Scorer

RewardFunction = Callable[..., list[float | None]]


def prompts_of(split: Split) -> Rows:
    """Prompts for TRL. The other columns, which may be of any kind, stay here and are found by the number of the row."""
    from datasets import Dataset

    rows = [*split.train, *split.eval]
    numbered = [{"prompt": row["prompt"], "row": number} for number, row in enumerate(rows)]
    train, held_out = numbered[: len(split.train)], numbered[len(split.train) :]
    return Rows(Dataset.from_list(train), Dataset.from_list(held_out) if held_out else None, columns=rows)


def logged(rewards: Mapping[str, Reward]) -> dict[str, Any]:
    """Fields of TRL's configs that are not the recipe's to choose: completions are kept, and not printed."""
    return {
        "reward_weights": [reward.weight for reward in rewards.values()],
        "num_generations_eval": 1,  # a held-out prompt is answered once: its reward is compared with nothing
        "log_completions": True,
        "num_completions_to_print": 0,
    }


def reward_functions(recipe: Recipe, rows: Rows, tokenizer: Any, scene: Scene) -> list[RewardFunction]:
    """One function a reward in TRL's form, named as the recipe names it; reasons go into the log of completions."""
    texts = {name: reward for name, reward in recipe.rewards.items() if not isinstance(reward, RewardModel)}
    failures: list[Failure] = []
    service = RewardService(texts, failures.append)

    def of_text(name: str) -> RewardFunction:
        def score(prompts: Any, completions: Any, row: list[int], log_extra: Any, **_: Any) -> list[float | None]:
            columns = {key: [rows.columns[number][key] for number in row] for key in rows.columns[row[0]]}
            columns.pop("prompt")
            try:
                scores = service.score(name, list(map(text_of, prompts)), list(map(text_of, completions)), columns)
            except RewardError as error:
                scene.trouble.append(error)
                scores = [Score(None, "the run ends: its reward failed")] * len(prompts)
            _tell(failures, scene)
            log_extra(f"reason:{name}", [one.reason for one in scores])
            return [one.score for one in scores]

        return score

    def of_model(name: str, reward: RewardModel) -> RewardFunction:
        scorer = Scorer(reward.base, recipe, scene)
        if scorer.tokenizer.get_vocab() != tokenizer.get_vocab():
            scene.warn(
                "tokenizer",
                f"rewards.{name}: {reward.base} has another tokenizer than {recipe.model.base}: it reads the completions as "
                "text, under its own chat template",
            )

        def score(prompts: Any, completions: Any, log_extra: Any, **_: Any) -> list[float | None]:
            log_extra(f"reason:{name}", [""] * len(prompts))
            return scorer.score(prompts, completions)

        return score

    functions = []
    for name, reward in recipe.rewards.items():
        function = of_model(name, reward) if isinstance(reward, RewardModel) else of_text(name)
        function.__name__ = name  # what TRL calls its metrics and columns by
        functions.append(function)
    return functions


def watched(trainer: type[Any], *, keeps_completions: bool = True) -> type[Any]:
    """`trainer`, a GRPOTrainer or RLOOTrainer, that times its parts and keeps the completions of evaluations apart.

    One that does not keep those of its steps in files, as TRL's GRPOTrainer does, is made to.
    """

    class Watched(trainer):  # type: ignore[misc]
        clock = StepClock()
        _logs: Any

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            with self.clock.part("generate"):
                return super()._generate(*args, **kwargs)

        def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
            with self.clock.part("score"):
                return super()._calculate_rewards(*args, **kwargs)

        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            # TRL would write them over those of the training step, in the file of the same number.
            kept, self._logs = self._logs, _emptied(self._logs)
            self.log_completions = False
            try:
                return super().evaluate(*args, **kwargs)
            finally:
                self._logs, self.log_completions = kept, True

        def log(self, *args: Any, **kwargs: Any) -> None:
            for name in ("reward_std", "frac_reward_zero_std"):  # of groups, and a held-out prompt is answered once
                self._metrics["eval"].pop(name, None)
            super().log(*args, **kwargs)
            if self.log_completions and not keeps_completions:
                _keep(self._logs, Path(self.args.output_dir), self.state.global_step)

    Watched.__name__ = trainer.__name__
    return Watched


def _keep(logs: Any, output_dir: Path, step: int) -> None:
    """Write the completions of a step as TRL's GRPOTrainer does."""
    import pyarrow
    from pyarrow import parquet

    count = len(logs["prompt"])
    columns = {**logs["rewards"], **logs["extra"], "advantage": logs["advantages"]}
    table = {"step": [step] * count, "prompt": logs["prompt"], "completion": logs["completion"], **columns}
    file = output_dir / "completions" / f"completions_{step:05d}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({name: list(values) for name, values in table.items()}), file)


def _emptied(logs: Any) -> Any:
    """Fresh logs of the same make as TRL's, a dict of deques and of dicts of deques."""
    fresh = copy.deepcopy(logs)
    for held in fresh.values():
        held.clear()
    return fresh


def _tell(failures: list[Failure], scene: Scene) -> None:
    """One warning a reward and kind of failure, with the count and the first of them."""
    counted = Counter((failure.reward, failure.kind) for failure in failures)
    for (reward, kind), count in counted.items():
        first = next(failure for failure in failures if (failure.reward, failure.kind) == (reward, kind))
        scene.warn("reward", f"reward {reward} {kind} {count} times: {first.message}")
    failures.clear()

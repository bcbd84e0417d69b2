"""Errors of the engine, on the tree that `recipes.errors` begins. Standard library only."""

from __future__ import annotations

from recipes.errors import BurnishError, InputError


class DatasetError(InputError):
    """A dataset is missing, empty, broken at a named line, or has no columns that a method could train on."""

    title = "Bad dataset"
    verdict_kind = "bad-data"


class ModelError(InputError):
    """A model cannot be loaded: no weights, pickle weights only, a hub that does not answer, a wrong name."""

    title = "Bad model"
    verdict_kind = "bad-model"


class RunError(InputError):
    """A run cannot be found, is in the wrong state for the request, or has a name that is not allowed."""

    title = "Run"


class LaunchError(BurnishError):
    """The supervisor or the trainer did not come up."""

    title = "Could not launch"


class PreflightRefusal(BurnishError):
    """The job would not fit or would fail: refused before anything is written."""

    title = "Refused by preflight"
    exit_code = 3


class NonFiniteLoss(BurnishError):
    """The loss became NaN or infinite and stayed so."""

    title = "The loss is no number"
    verdict_kind = "nonfinite"

"""What every group of settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Block(BaseModel):
    """A group of settings: unknown keys are refused, values are checked when set, never changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

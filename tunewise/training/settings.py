"""Settings that every method trained by gradient descent shares; importing them loads no library."""

from __future__ import annotations

from pydantic import Field

from tunewise.contracts import Settings


class GradientSettings(Settings):
    """How the one training loop steps: AdamW, linear warm-up, linear decay to zero.

    The number of epochs is the study's budget. The epoch that scores best on development rows is kept.
    """

    learning_rate: float = Field(1e-3, gt=0, le=1, description="Highest step size of AdamW.")
    batch_size: int = Field(32, ge=1, le=4096, description="Rows per optimizer step.")
    min_steps: int = Field(
        40,
        ge=0,
        le=1_000_000,
        description="Least number of optimizer steps; few rows are repeated until it is reached.",
    )
    warmup_share: float = Field(0.06, ge=0, lt=1, description="Share of the steps in which the step size rises from zero.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of weight matrices; biases, norms and embeddings are not decayed.")
    clip_norm: float = Field(1.0, gt=0, le=1e6, description="Longer gradients are shortened to this norm.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of activations that are dropped while training.")


class TrunkSettings(GradientSettings):
    """Of methods that train something inside the trunk: a new output layer may step faster than what is pretrained."""

    batch_size: int = Field(16, ge=1, le=4096, description="Rows per optimizer step.")
    min_steps: int = Field(
        80, ge=0, le=1_000_000, description="Least number of optimizer steps; few rows are repeated until it is reached."
    )
    head_learning_rate: float = Field(5e-3, gt=0, le=1, description="Highest step size of AdamW for the output layer.")

"""Ranges of settings that a search draws from, as a settings class declares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class LogUniform:
    """Numbers between two bounds whose logarithm is spread evenly."""

    low: float
    high: float
    source: str
    """Where the range comes from."""

    def draw(self, name: str, trial: Trial) -> float:
        """Return the value of the setting ``name`` in ``trial``."""
        return trial.suggest_float(name, self.low, self.high, log=True)

    def holds(self, value: Any) -> bool:
        """Say whether ``value`` lies in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """A few values, each as likely as the others."""

    values: tuple[bool | int | float | str, ...]
    source: str
    """Where the values come from."""

    def draw(self, name: str, trial: Trial) -> bool | float | str | None:
        """Return the value of the setting ``name`` in ``trial``."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: Any) -> bool:
        """Say whether ``value`` is one of them."""
        return value in self.values


Range: TypeAlias = LogUniform | OneOf

"""The nouns that know no study: what a method is given, what it returns, what is kept of it.

The way of the data: training and development rows and a `Backbone` become `Inputs`; a `Method` turns
them into a `Predictor`; its answers to the test rows, its measured costs and its origin become one
`tunewise.outcome.Outcome`. The comparison reads outcomes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from tunewise.artifacts import sha256_of_json
from tunewise.ranges import Range

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np

    from tunewise.rng import Rng

Text: TypeAlias = "str | tuple[str, str]"
"""One text, or a pair of texts that is judged together."""

Texts: TypeAlias = Sequence[Text]

Label: TypeAlias = str | int | bool
"""A class as the user wrote it; ``"01"``, ``"NA"`` and ``"None"`` are labels like any other."""

Matrix: TypeAlias = "np.ndarray"
"""A float32 matrix, one row per text."""

Embed: TypeAlias = "Callable[[Texts], Matrix]"
"""Turns texts into pooled, L2-normalised features. Shape: (n_texts, hidden_size)."""

PARTS = ("train", "development", "test")


class Settings(BaseModel):
    """Base of every method's settings: frozen, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ranges: ClassVar[Mapping[str, Range]] = {}
    """What a search may draw of these settings, by name."""

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, by name."""
        values = self.model_dump(mode="json")
        return {
            name: values[name]
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.get_default(call_default_factory=True)
        }


class Need(StrEnum):
    """What a method takes of a backbone; a method without needs takes texts and labels alone."""

    EMBEDDINGS = "embeddings"
    """Pooled features of the frozen weights."""
    TRUNK = "trunk"
    """The weights themselves."""


Kind: TypeAlias = Literal["encoder", "decoder"]
"""Bidirectional encoder, or causal language model."""

KINDS: frozenset[Kind] = frozenset({"encoder", "decoder"})


@dataclass(frozen=True)
class Backbone:
    """A pretrained model and its tokenizer in a local folder, known by the hash of its weights."""

    name: str
    folder: Path
    kind: Kind
    weights_sha256: str
    config_sha256: str
    tokenizer_sha256: str
    architecture: str
    hidden_size: int
    n_layers: int
    n_parameters: int
    max_tokens: int
    """Longer texts are cut here: the study's limit, or else the position table's."""
    pooling: Literal["mean", "cls", "last"]
    licence: str

    @property
    def fingerprint(self) -> str:
        """Return the hash of everything that determines a feature: weights, configuration, tokenizer, pooling, limit."""
        return sha256_of_json([self.weights_sha256, self.config_sha256, self.tokenizer_sha256, self.pooling, self.max_tokens])


@dataclass(frozen=True)
class Device:
    """Where and in which precision a fit runs; part of what determines its result."""

    kind: Literal["cpu", "cuda"]
    dtype: Literal["bfloat16", "float32"]
    n_threads: int


@dataclass(frozen=True, eq=False)
class Part:
    """One side of the split. Shapes: every field has length n_texts."""

    ids: tuple[str, ...]
    texts: tuple[Text, ...]
    labels: np.ndarray
    """int64 indices into `Split.classes`."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | np.ndarray) -> Part:
        """Return the part made of ``rows`` (indices, not a mask), in their order."""
        return Part(tuple(self.ids[i] for i in rows), tuple(self.texts[i] for i in rows), self.labels[rows])


@dataclass(frozen=True, eq=False)
class Split:
    """Training, development and test rows of one data set, and the classes they name."""

    classes: tuple[Label, ...]
    train: Part
    development: Part
    test: Part
    fingerprint: str
    """sha256 over ids, texts, labels, sides and classes."""
    licence: str = "unknown"

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Yield ``("train", ...)``, ``("development", ...)``, ``("test", ...)``."""
        for name in PARTS:
            yield name, getattr(self, name)


class Progress(Protocol):
    """Receives how far long work has come."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` units of ``stage`` are finished."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


class Monitor(Protocol):
    """Watches a fit: shows progress, keeps the curve, stops the clock while the fit evaluates."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` units of ``stage`` are finished."""

    def record(self, step: int, **values: float) -> None:
        """Keep the values of one training step, such as ``loss`` and ``development_accuracy``."""

    def count_features(self, seconds: float) -> None:
        """Add what features or states took that are shared between fits, by whichever fit they were computed."""

    def untimed(self) -> AbstractContextManager[None]:
        """Return a block whose seconds do not count as fitting: scoring development rows, writing checkpoints."""
        ...

    def so_far(self) -> dict[str, Any]:
        """Return what was measured and recorded up to here, as plain JSON values: a checkpoint's part of the costs."""
        ...

    def go_on_from(self, measured: dict[str, Any]) -> None:
        """Take what an interrupted fit had measured at its checkpoint for what this one has, whose steps so far it had too."""


@dataclass(frozen=True)
class StateCache:
    """Where hidden states of frozen blocks are kept between fits, and how many bytes they may take."""

    root: Path
    max_bytes: int


@dataclass(frozen=True)
class Runtime:
    """What a predictor needs in order to answer: weights, device, features."""

    device: Device
    backbone: Backbone | None = None
    embed: Embed | None = None
    """Given where the method needs `Need.EMBEDDINGS`."""
    states: StateCache | None = None
    """Given while fitting; without it a fit keeps states for itself."""


@dataclass(frozen=True)
class Inputs:
    """What a fit is given: training and development rows, never test rows."""

    classes: tuple[Label, ...]
    train: Part
    development: Part
    runtime: Runtime
    monitor: Monitor
    work: Path
    """A folder of the fit's own for files it needs meanwhile; removed when the outcome is written."""
    epochs: int
    """Passes over the training rows that the study's budget allows a gradient method."""
    class_weights: np.ndarray
    """float32 weight of each class in the training loss; all ones unless the study asks for balance."""
    metric: str = "accuracy"
    """The metric that decides choices on development data; a name in `tunewise.evaluation.metrics`."""


class Predictor(Protocol):
    """A fitted method: answers texts, and can be stored without pickle."""

    @property
    def n_trained_parameters(self) -> int:
        """Return how many numbers the fit set."""
        ...

    @property
    def n_total_parameters(self) -> int:
        """Return how many numbers answer a text, the backbone's included."""
        ...

    @property
    def chosen(self) -> dict[str, Any]:
        """Return what the fit chose on development data (``C``, epoch, ...), by name; empty where nothing was chosen."""
        ...

    def predict(self, texts: Texts) -> Matrix:
        """Return class probabilities. Shape: (n_texts, n_classes), float32, rows sum to 1."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything `Method.load` needs into the existing, empty ``folder``: safetensors, JSON, ubj or skops."""
        ...


S_contra = TypeVar("S_contra", bound=Settings, contravariant=True)


class Fit(Protocol[S_contra]):
    """Fits a method on training rows; every choice is made on development rows."""

    def __call__(self, inputs: Inputs, settings: S_contra, *, rng: Rng) -> Predictor:
        """Return the fitted predictor."""
        ...


class Load(Protocol):
    """Rebuilds a predictor from what its `Predictor.save` wrote."""

    def __call__(self, folder: Path, runtime: Runtime) -> Predictor:
        """Return the predictor that answers as the saved one did."""
        ...


@dataclass(frozen=True)
class Method:
    """One way of using a backbone; the last line of its module. Its name is the module's, its family the folder's."""

    settings: type[Settings]
    fit: Fit[Any]
    load: Load
    trains: str
    """What is trained, in a few words, for tables."""
    source: str
    needs: frozenset[Need] = frozenset()
    takes: frozenset[Kind] = KINDS
    """The kinds of backbone it can use; any of them will do."""
    is_seeded: bool = True
    """False where the seed changes nothing; one outcome then stands for all seeds."""
    is_default: bool = True
    """Whether a study that names no variants runs it."""
    badges: frozenset[str] = frozenset()
    """Libraries shown as badges in the Dagster graph."""
    name: str = ""
    family: str = ""
    summary: str = ""

    def named(self, name: str, family: str, summary: str) -> Self:
        """Return the method with the names its place in the catalogue gives it."""
        return replace(self, name=name, family=family, summary=summary)

"""The study file's schema: what a user declares, frozen, checked whole before anything runs.

Pure pydantic. Variants are a union discriminated by ``method`` and built from the catalogue, so that a
wrong setting is refused at its own line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import inf
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tunewise.contracts import Kind, Method, Need, Settings
from tunewise.errors import StudyError
from tunewise.masking import masked
from tunewise.methods import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
"""Names become asset keys, folders and MLflow run names, so they hold nothing that any of these would escape.
Dagster joins study and variant by two underscores into a step's name, so a name has single ones."""

MAX_NAME = 63
"""Longest name that Kubernetes takes for a label."""

RESERVED_NAMES = ("dataset", "split", "embeddings", "comparison", "study")
"""Assets that every study has besides its variants."""


class _Part(BaseModel):
    """Base of every part of a study: frozen, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PackageFile(_Part):
    """A file inside a package of the user's own index, pinned by version and hash."""

    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the package.")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$", description="Exact version.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of the package archive.")
    member: str = Field(
        min_length=1, description="Path inside the archive; `outer.tar.gz!inner/file` reaches into an archive inside it."
    )


Source = Annotated[
    str | PackageFile,
    Field(
        description="`path:FILE` or a bare path (relative to the study file), `hub:ORG/NAME@REVISION`, `archive:NAME`, "
        "or a package file."
    ),
]


class Band(_Part):
    """An interval of ratings. Bounds that are not given are open."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        low, high = self._ends()
        if low >= high and not (low == high == self.at_least == self.at_most):
            raise StudyError(f"The band from {low} to {high} holds no rating. Its lower bound must lie below its upper one.")
        return self

    def _ends(self) -> tuple[float, float]:
        lows = [bound for bound in (self.at_least, self.above) if bound is not None]
        highs = [bound for bound in (self.at_most, self.below) if bound is not None]
        return max(lows, default=-inf), min(highs, default=inf)

    def meets(self, other: Band) -> bool:
        """Say whether some rating lies in both bands."""
        low = max(self._ends()[0], other._ends()[0])
        high = min(self._ends()[1], other._ends()[1])
        return low < high or (low == high and self.holds(low) and other.holds(low))

    def holds(self, rating: float) -> bool:
        """Say whether ``rating`` lies in the band."""
        return (
            (self.at_least is None or rating >= self.at_least)
            and (self.at_most is None or rating <= self.at_most)
            and (self.above is None or rating > self.above)
            and (self.below is None or rating < self.below)
        )


class Ratings(_Part):
    """Turns a column of numbers into classes; a rating in no band leaves its row out."""

    column: str = "rating"
    bands: dict[str, Band] = Field(min_length=2, max_length=100, description="Class name to its band; bands must not overlap.")

    @field_validator("bands")
    @classmethod
    def _bands_do_not_meet(cls, bands: dict[str, Band]) -> dict[str, Band]:
        for (one, band), (other, neighbour) in combinations(bands.items(), 2):
            if band.meets(neighbour):
                raise StudyError(f"The bands of {one!r} and {other!r} overlap; a rating would have two classes. Move a bound.")
        return bands


class SplitRule(_Part):
    """How rows are sided: shares by a keyed hash, a column of the table, or tables of their own."""

    development: float | Source = Field(default=0.1, description="A share of the rows, or a table of its own.")
    test: float | Source = Field(default=0.2, description="A share of the rows, or a table of its own.")
    column: str | None = Field(
        default=None, description="A column that says `train`, `development` (or `dev`, `validation`, `val`) or `test`."
    )
    salt: str | None = Field(
        default=None, description="Key of the hash; the study's name unless given. Fix it before any result is seen."
    )

    @field_validator("development", "test", mode="before")
    @classmethod
    def _shares_are_numbers(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[\d.]+", value):
            raise StudyError(f"{value!r} is text; write the share {value} without quotes, or name a table.")
        return value

    @model_validator(mode="after")
    def _shares_leave_training_rows(self) -> Self:
        shares = {name: value for name in ("development", "test") if isinstance(value := getattr(self, name), float)}
        for name, share in shares.items():
            if not 0.0 < share <= 0.5:
                raise StudyError(f"{name}={share} was given; a share lies above 0 and is at most 0.5.")
        if sum(shares.values()) > 0.8:
            raise StudyError(f"development and test take {sum(shares.values()):g} of the rows; at most 0.8 may be held back.")
        return self


class Data(_Part):
    """Where the labelled texts are and how they are read."""

    source: Source
    text: str | tuple[str, str] = Field(default="text", description="Column of the text, or two columns judged as a pair.")
    label: str | None = Field(default=None, description="Column of the label; `label` unless ratings are given.")
    ratings: Ratings | None = Field(default=None, description="Instead of a label: ratings and their bands.")
    id: str | None = Field(default=None, description="Column of a unique id; without it a row is known by the hash of its text.")
    encoding: str | None = Field(
        default=None,
        description="Of CSV, TSV and JSON lines, such as `utf-8`, `cp1252` or `utf-16`; read from the file unless given.",
    )
    split: SplitRule = Field(default_factory=SplitRule)
    licence: str | None = Field(default=None, description="Shown in provenance; known for built-in data.")

    @model_validator(mode="after")
    def _label_or_ratings(self) -> Self:
        if self.label is not None and self.ratings is not None:
            raise StudyError("Both label and ratings were given; a row has one class. Remove one of them.")
        if self.label_column in ([self.text] if isinstance(self.text, str) else self.text):
            raise StudyError(
                f"The column {self.label_column!r} is named for the text and for its class, so nothing would be left to learn. "
                "Name two columns."
            )
        return self

    @property
    def label_column(self) -> str:
        """Return the column a row's class is read from."""
        return self.ratings.column if self.ratings else self.label or "label"


class BackboneSpec(_Part):
    """A pretrained model under a short name."""

    name: str = Field(pattern=NAME, max_length=MAX_NAME)
    source: Source
    kind: Kind = Field(default="encoder", description="`encoder` (BERT-shaped) or `decoder` (a causal language model).")
    max_tokens: int | None = Field(default=None, gt=0, description="Cut texts here; the backbone's own limit unless given.")


class Compute(_Part):
    """What one fit may use. On one machine it becomes a pool slot; on Ray and Kubernetes a request."""

    gpus: int = Field(default=0, ge=0, description="Devices of its own; one where there is one unless given.")
    gpu_type: str | None = Field(default=None, description="A node label's value, such as `NVIDIA-H100-80GB-HBM3`.")
    gpu_memory_gb: float | None = Field(default=None, gt=0, description="Memory that each device has at least.")
    cpu_fallback: bool = Field(default=False, description="Whether it may run on the CPU where the GPUs it asks for are missing.")
    cpus: int = Field(default=1, gt=0)
    memory_gb: float | None = Field(default=None, gt=0, description="Memory of the machine, GPUs' own not counted.")
    pool: str | None = Field(
        default=None, pattern=NAME, max_length=MAX_NAME, description="Dagster pool; `gpu` where GPUs are asked for."
    )


class Tracking(_Part):
    """Where MLflow keeps the runs; secrets come by the name of an environment variable."""

    uri: str | None = Field(default=None, description="A tracking server; SQLite in the home folder unless given.")
    uri_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Environment variable that holds the URI."
    )
    experiment: str | None = Field(default=None, description="The study's name unless given.")

    @field_validator("uri")
    @classmethod
    def _uri_holds_no_secret(cls, value: str | None) -> str | None:
        if value is not None and masked(value) != value:
            raise StudyError("The tracking uri holds a password. Put the uri in an environment variable and name it in uri_env.")
        return value


@dataclass(frozen=True)
class Budget:
    """How much effort each fit may spend."""

    max_train_rows: int | None
    epochs: int
    n_trials: int


BUDGETS = {
    "quick": Budget(max_train_rows=1_024, epochs=2, n_trials=1),
    "standard": Budget(max_train_rows=None, epochs=3, n_trials=8),
    "thorough": Budget(max_train_rows=None, epochs=5, n_trials=32),
}
"""`n_trials` is per method family."""

BudgetName = Literal["quick", "standard", "thorough"]


class _Choice(_Part):
    """What all variants have in common; the catalogue adds ``method`` and ``settings``."""

    name: str | None = Field(
        default=None,
        pattern=NAME,
        max_length=MAX_NAME,
        description="Asset, run and row; the method and what differs unless given.",
    )
    backbone: str | None = Field(default=None, description="Name of a backbone of the study; all that fit unless given.")
    compute: Compute | None = Field(default=None, description="What is given here replaces the study's.")


def _choice_of(method: Method) -> type[_Choice]:
    fields: dict[str, Any] = {
        "method": (Literal[method.name], Field(description=method.summary)),
        "settings": (method.settings, Field(default_factory=method.settings)),
    }
    title = method.settings.__name__.removesuffix("Settings")
    return create_model(f"{title}Variant", __base__=_Choice, __doc__=method.summary, **fields)


_CHOICES = {name: _choice_of(method) for name, method in catalogue().items()}
VariantChoice: Any = Annotated[reduce(or_, _CHOICES.values()), Field(discriminator="method")]
_VARIANTS_AS_WRITTEN: Any = tuple[Literal[tuple(_CHOICES)] | VariantChoice, ...] | None
"""A method's name alone stands for the variant with its default settings."""


@dataclass(frozen=True)
class Variant:
    """A method with a backbone and settings under a unique name; what the graph, the table and MLflow know."""

    name: str
    method: Method
    backbone: str | None
    settings: Settings
    compute: Compute


class Study(_Part):
    """One comparison: data, backbones, variants, seeds, budget. One study is one asset graph."""

    name: str = Field(pattern=NAME, max_length=MAX_NAME)
    data: Data
    backbones: tuple[BackboneSpec, ...] = Field(
        default=(), validate_default=True, description="The embedded encoder `minilm` unless given."
    )
    variants: tuple[VariantChoice, ...] = Field(  # pyright: ignore[reportInvalidTypeForm] - made from the catalogue
        default=None, validate_default=True, min_length=1, description="Every default method that fits a backbone unless given."
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32, strict=True)], ...] = Field((0, 1, 2), min_length=1)
    budget: BudgetName = "quick"
    metric: Literal["accuracy", "macro_f1", "mcc", "log_loss"] = Field(
        default="accuracy", description="Decides choices on development data, and the ranking."
    )
    class_weights: Literal["none", "balanced"] = "none"
    compute: Compute = Field(default_factory=Compute)
    cron: str | None = Field(default=None, description="When to run again, in UTC, such as `0 3 1 * *`.")
    watch: bool = Field(default=False, description="Whether to run again when rows of the data change.")
    tracking: Tracking = Field(default_factory=Tracking)
    description: str = ""

    @field_validator("backbones", mode="before", json_schema_input_type=tuple[str | BackboneSpec, ...])
    @classmethod
    def _names_stand_for_archives(cls, value: Any) -> Any:
        items = value or ["minilm"]
        if not isinstance(items, (list, tuple)):
            return items
        return tuple({"name": item, "source": f"archive:{item}"} if isinstance(item, str) else item for item in items)

    @field_validator("variants", mode="before", json_schema_input_type=_VARIANTS_AS_WRITTEN)
    @classmethod
    def _names_stand_for_defaults(cls, value: Any) -> Any:
        items = [name for name, method in catalogue().items() if method.is_default] if value is None else value
        if not isinstance(items, (list, tuple)):
            return items
        return tuple({"method": item} if isinstance(item, str) else item for item in items)

    @field_validator("cron")
    @classmethod
    def _cron_can_be_read(cls, value: str | None) -> str | None:
        fields = (value or "").split()
        if value is not None and len(fields) != len(_CRON):
            raise StudyError(f"cron={value!r} has {len(fields)} fields; five are needed: minute hour day month weekday.")
        for given, (name, (low, high)) in zip(fields, _CRON.items(), strict=False):
            if not _is_cron_field(given, low, high):
                raise StudyError(
                    f"cron={value!r}: {given!r} is no {name}. Use numbers from {low} to {high}, `*`, `-`, `,` and `/`."
                )
        return value

    @model_validator(mode="after")
    def _fields_do_not_contradict(self) -> Self:
        if found := list(self._contradictions()):
            details = [
                {"type": PydanticCustomError("contradiction", "{message}", {"message": message}), "loc": loc, "input": loc[-1]}
                for loc, message in found
            ]
            raise ValidationError.from_exception_data(type(self).__name__, details)  # pyright: ignore[reportArgumentType]
        return self

    def _contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        names = [spec.name for spec in self.backbones]
        yield from _repeats("backbones", names)
        yield from _repeats("seeds", list(self.seeds))
        for i, choice in enumerate(self.variants):
            method = catalogue()[choice.method]
            if choice.backbone is None:
                continue
            if not method.needs:
                yield ("variants", i, "backbone"), f"{method.name} uses no backbone. Remove this line."
            elif choice.backbone not in names:
                yield ("variants", i, "backbone"), f"{choice.backbone!r} is no backbone of the study; it has {', '.join(names)}."
            elif (kind := self.backbone(choice.backbone).kind) not in method.takes:
                yield ("variants", i, "backbone"), f"{method.name} takes {_any_of(method.takes)}; {choice.backbone} is a {kind}."
        if len(set(names)) == len(names):
            yield from self._contradictions_of_names()

    def _contradictions_of_names(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        taken: set[str] = set()
        for i, choice in enumerate(self.variants):
            for variant in self._variants_of(choice):
                if variant.name in RESERVED_NAMES or variant.name.startswith("embeddings_"):
                    yield ("variants", i), f"{variant.name!r} is an asset of every study. Give the variant another name."
                elif variant.name in taken:
                    yield ("variants", i), f"Two variants are called {variant.name!r}. Give one of them a `name` of its own."
                taken.add(variant.name)

    def planned(self) -> tuple[Variant, ...]:
        """Return every variant under its final name: one per backbone where several fit and none was chosen."""
        return tuple(variant for choice in self.variants for variant in self._variants_of(choice))

    def _variants_of(self, choice: Any) -> Iterator[Variant]:
        method = catalogue()[choice.method]
        fitting = [spec.name for spec in self.backbones if spec.kind in method.takes]
        backbones = [None] if not method.needs else [choice.backbone] if choice.backbone else fitting
        given = choice.compute.model_dump(exclude_unset=True) if choice.compute else {}
        for backbone in backbones:
            name = self._name_of(choice, backbone)
            yield Variant(name, method, backbone, choice.settings, self.compute.model_copy(update=given))

    def _name_of(self, choice: Any, backbone: str | None) -> str:
        """Return the given name, or the method's with what tells its variants apart.

        The first backbone adds nothing, so that a second one renames no row of the past.
        """
        stem = choice.name
        if stem is None:
            stem = "_".join([choice.method, *(f"{key}_{_plain(value)}" for key, value in choice.settings.changed().items())])
        is_first = backbone in (None, self.backbones[0].name)
        is_given = choice.name is not None and choice.backbone is not None
        return _short(stem if is_first or is_given else f"{stem}_{backbone}")

    def variant(self, name: str) -> Variant:
        """Return the variant called ``name``.

        Raises:
            StudyError: If the study plans no such variant.
        """
        planned = {variant.name: variant for variant in self.planned()}
        if name not in planned:
            raise StudyError(f"Study {self.name} has no variant {name!r}; it has {', '.join(planned)}.")
        return planned[name]

    def backbone(self, name: str) -> BackboneSpec:
        """Return the backbone called ``name``."""
        return next(spec for spec in self.backbones if spec.name == name)

    @property
    def embedded_backbones(self) -> tuple[str, ...]:
        """Return the backbones of which frozen features are needed, in the study's order."""
        wanted = {variant.backbone for variant in self.planned() if Need.EMBEDDINGS in variant.method.needs}
        return tuple(spec.name for spec in self.backbones if spec.name in wanted)

    @property
    def effort(self) -> Budget:
        """Return what the study's budget allows."""
        return BUDGETS[self.budget]


_CRON = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


def _is_cron_field(given: str, low: int, high: int) -> bool:
    """Say whether each item of a list is ``*``, a number or a range within the bounds, with or without a step."""
    for item in given.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", item)
        if match is None or not all(low <= int(bound) <= high for bound in match.groups()[:2] if bound):
            return False
    return True


def _repeats(field: str, values: list[Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    seen: set[Any] = set()
    for i, value in enumerate(values):
        if value in seen:
            yield (field, i), f"{value!r} stands here a second time. Each stands once."
        seen.add(value)


def _any_of(kinds: frozenset[str]) -> str:
    return " or ".join(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in sorted(kinds))


def _plain(value: object) -> str:
    text = str(value).lower().replace("-", "minus_")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_") or "none"


def _short(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 7].rstrip('_')}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"

"""TF-IDF and logistic regression: counts words and word pairs, and never saw another text.

What a pretrained backbone has to beat. Terms are single words and pairs of neighbours, in lower case; a
term counts ``1 + log(tf)`` times its inverse document frequency; rows have length 1. In pairs of texts
each side has terms of its own.

Source: Wang & Manning 2012, "Baselines and Bigrams"; weights as in Manning, Raghavan & Schuetze 2008,
"Introduction to Information Retrieval", section 6.4.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tunewise.classical import (
    Linear,
    choose,
    present_classes,
    read_arrays,
    read_chosen,
    row_weights,
    write_arrays,
    write_chosen,
)
from tunewise.contracts import Method, Settings
from tunewise.errors import FitError

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime, Text, Texts
    from tunewise.rng import Rng

TERMS, FREQUENCIES = "terms.json", "frequencies.safetensors"
WORD = re.compile(r"\w+")


class TfidfLogisticSettings(Settings):
    """Settings of ``tfidf_logistic``."""

    c: list[Annotated[float, Field(gt=0)]] = Field(
        [0.3, 1.0, 3.0, 10.0, 30.0],
        min_length=1,
        description="C, the inverse strength of the penalty; the best on development rows is taken, a single one fixes it.",
    )
    min_texts: int = Field(2, gt=0, description="A term is known if so many training texts hold it.")
    max_terms: int = Field(50_000, gt=0, description="Most terms, the most frequent ones.")
    max_weights: int = Field(4_000_000, gt=0, description="Most terms times classes, so that many classes fit into memory.")
    max_iterations: int = Field(1_000, gt=0, description="Most steps of L-BFGS.")


@dataclass(frozen=True, eq=False)
class TfidfPredictor:
    """Known terms with their inverse document frequencies, and one weight per term and class."""

    vectorizer: Any
    classifier: Linear
    chosen: dict[str, Any]

    @property
    def n_trained_parameters(self) -> int:
        """Return the count of weights, biases and inverse document frequencies."""
        return self.classifier.n_numbers + len(self.vectorizer.idf_)

    @property
    def n_total_parameters(self) -> int:
        """Return the same: there is no backbone."""
        return self.n_trained_parameters

    def predict(self, texts: Texts) -> Matrix:
        """Return class probabilities; a text without known terms is answered by the biases. Shape: (n_texts, n_classes)."""
        return self.classifier.probabilities(self.vectorizer.transform(texts))

    def save(self, folder: Path) -> None:
        """Write terms, frequencies, weights and what was chosen."""
        (folder / TERMS).write_text(json.dumps(list(self.vectorizer.get_feature_names_out())))
        write_arrays({"idf": self.vectorizer.idf_}, folder / FREQUENCIES)
        self.classifier.save(folder)
        write_chosen(self.chosen, folder)


def terms_of(text: Text) -> list[str]:
    """Return the words and pairs of neighbouring words of a text; those of a pair's second text begin with a tab."""
    if isinstance(text, tuple):
        return terms_of(text[0]) + ["\t" + term for term in terms_of(text[1])]
    words = WORD.findall(text.lower())
    return words + [f"{one} {next_one}" for one, next_one in pairwise(words)]


def fit(inputs: Inputs, settings: TfidfLogisticSettings, *, rng: Rng) -> TfidfPredictor:  # noqa: ARG001 - nothing is drawn
    """Learn terms and weights from the training rows; choose ``C`` on development rows.

    Raises:
        FitError: If no term is left, or the training rows hold fewer than two classes.
    """
    n_terms = max(1, min(settings.max_terms, settings.max_weights // len(inputs.classes)))
    vectorizer = _vectorizer(min_df=min(settings.min_texts, len(inputs.train)), max_features=n_terms)
    try:
        features = vectorizer.fit_transform(inputs.train.texts)
    except ValueError as error:
        raise FitError(
            f"No word stands in min_texts={settings.min_texts} or more of the {len(inputs.train)} training texts, "
            "so there is nothing to count. Use min_texts: 1, or leave this method out."
        ) from error

    def fit_with(c: float) -> Linear:
        return _fit(features, inputs, c, settings.max_iterations)

    c, classifier = choose("c", settings.c, fit_with, vectorizer.transform(inputs.development.texts), inputs)
    return TfidfPredictor(vectorizer, classifier, {"c": c})


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**{"analyzer": terms_of, "sublinear_tf": True, **options})


def _fit(features: Any, inputs: Inputs, c: float, max_iterations: int) -> Linear:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    present, positions = present_classes(inputs.train.labels)
    # One thread: sums in an order that does not depend on the machine's cores.
    with threadpool_limits(1):
        model = LogisticRegression(C=c, max_iter=max_iterations)
        model.fit(features, positions, sample_weight=row_weights(inputs))
    return Linear.of(model, present, len(inputs.classes))


def load(folder: Path, runtime: Runtime) -> TfidfPredictor:  # noqa: ARG001 - the contract's signature
    """Read terms, frequencies and weights."""
    terms = json.loads((folder / TERMS).read_text())
    vectorizer = _vectorizer(vocabulary={term: i for i, term in enumerate(terms)})
    vectorizer.idf_ = read_arrays(folder / FREQUENCIES)["idf"]
    return TfidfPredictor(vectorizer, Linear.load(folder), read_chosen(folder))


METHOD = Method(
    settings=TfidfLogisticSettings,
    fit=fit,
    load=load,
    trains="one weight per word and class",
    source="Wang & Manning 2012",
    is_seeded=False,
    badges=frozenset({"scikitlearn"}),
)

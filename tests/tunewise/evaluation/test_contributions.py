"""What each text adds to a metric."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from tunewise.errors import StudyError
from tunewise.evaluation.contributions import contributions
from tunewise.evaluation.metrics import METRICS
from tunewise.outcome import ClassAnswers

RATIOS = ("macro_f1", "mcc")


def answers(labels, predicted, n_classes, probabilities=True):
    """Return answers whose probabilities are flat; only their shape matters here."""
    flat = np.full((len(labels), n_classes), 1 / n_classes, dtype=np.float32) if probabilities else None
    return ClassAnswers(np.array(labels), np.array(predicted), flat)


def drawn(n_classes, n, seed):
    """Return answers that are right about two times in three."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    return answers(labels, np.where(rng.random(n) < 0.6, labels, rng.integers(0, n_classes, n)), n_classes)


def test_macro_f1_of_four_texts():
    """Truth 0011, answers 0111: F = 2/3 and 4/5, D = 3 and 5; the hit on class 0 adds 4 * (2 - 4/3) / 3 / 2 = 4/9."""
    got = contributions("macro_f1", answers([0, 0, 1, 1], [0, 1, 1, 1], 2))

    value = (2 / 3 + 4 / 5) / 2
    hit_of_0, miss, hit_of_1 = (2 - 4 / 3) / 3, -(2 / 3) / 3 - (4 / 5) / 5, (2 - 8 / 5) / 5
    assert got == pytest.approx([value + 4 * part / 2 for part in (hit_of_0, miss, hit_of_1, hit_of_1)])
    assert got[0] == pytest.approx(value + 4 / 9)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_their_mean_is_the_metric(n_classes):
    """Macro-F1 and MCC are the mean of what the texts add, as scikit-learn computes them."""
    given = drawn(n_classes, 200, seed=n_classes)

    assert contributions("macro_f1", given).mean() == pytest.approx(f1_score(given.labels, given.predicted, average="macro"))
    assert contributions("mcc", given).mean() == pytest.approx(matthews_corrcoef(given.labels, given.predicted))


@pytest.mark.parametrize("metric", RATIOS)
def test_each_is_the_slope_by_the_weight_of_its_text(metric):
    """Counting one text of 2,000 a second time moves the metric by what the text adds above the metric, over n."""
    given = drawn(3, 2_000, seed=4)
    got, value = contributions(metric, given), METRICS[metric](given)
    for i in (0, 1, 2, 3):
        rows = [*range(2_000), i]
        more = ClassAnswers(given.labels[rows], given.predicted[rows], given.probabilities[rows])
        assert 2_000 * (METRICS[metric](more) - value) == pytest.approx(got[i] - value, abs=2e-3)


@pytest.mark.parametrize("metric", RATIOS)
def test_their_spread_is_what_a_bootstrap_finds(metric):
    """The standard error lies within a tenth of that of 500 draws of the texts."""
    given, rng = drawn(4, 400, seed=5), np.random.default_rng(6)
    draws = []
    for _ in range(500):
        rows = rng.integers(0, 400, 400)
        draws.append(METRICS[metric](ClassAnswers(given.labels[rows], given.predicted[rows], given.probabilities[rows])))

    assert contributions(metric, given).std(ddof=1) / 20 == pytest.approx(np.std(draws), rel=0.1)


@pytest.mark.parametrize("metric", RATIOS)
def test_one_answer_for_all_has_a_plain_value(metric):
    """A collapsed variant and a class that no text has give numbers, not NaN."""
    got = contributions(metric, answers([0, 0, 1], [0, 0, 0], 3))

    assert got.mean() == pytest.approx(METRICS[metric](answers([0, 0, 1], [0, 0, 0], 3)))
    assert np.isfinite(got).all()


def test_log_loss_of_labels_alone_is_absent():
    """Where a source answers labels, log loss has no contributions and accuracy has."""
    given = answers([0, 1], [0, 0], 2, probabilities=False)

    assert contributions("log_loss", given) is None
    assert contributions("accuracy", given).tolist() == [1.0, 0.0]


def test_an_unknown_metric_is_refused():
    """The error names the metrics there are."""
    with pytest.raises(StudyError, match="metric='bleu' is unknown; it can be accuracy, macro_f1, mcc, log_loss"):
        contributions("bleu", answers([0, 1], [0, 0], 2))

"""The verdict as JSON."""

import json

import numpy as np
import pytest

from tunewise.verdict.numbers import numbers, plain


def test_every_number_is_there(make, judge, missing):
    """Per variant the estimates, costs and outcomes; per pair the gap; what is missing; all of it plain JSON."""
    found = json.loads(json.dumps(numbers(judge([*make("good", 0.9), *make("poor", 0.6)], missing)), allow_nan=False))

    good = found["variants"][0]
    assert (good["variant"], good["is_recommended"], len(good["outcomes"])) == ("good", True, 3)
    assert good["test"]["accuracy"]["value"] == pytest.approx(np.mean([one["test"]["accuracy"] for one in good["outcomes"]]))
    assert set(good["costs"]) == {
        "fit_seconds",
        "fit_and_features_seconds",
        "latency_ms",
        "predict_ms",
        "peak_bytes",
        "peak_above_start_bytes",
        "stored_bytes",
    }
    assert found["pairs"][0]["one"] == "good"
    values = [one["test"]["accuracy"]["value"] for one in found["variants"]]
    assert found["pairs"][0]["value"] == pytest.approx(values[0] - values[1])
    assert [fit["reason"] for fit in found["missing"]] == ["failed", "failed", "never ran"]


def test_confusion_cells_sum_to_all_answers(make, judge):
    """Three seeds of 400 texts are 1,200 answers."""
    found = numbers(judge(make("lora")))

    assert sum(times for _, _, times in found["variants"][0]["confusion"]) == 1_200


def test_plain_values():
    """Arrays become lists, what JSON cannot hold becomes null or text."""
    assert plain({"a": np.array([1, 2]), 3: (float("nan"), float("inf")), "p": np.float32(0.5)}) == {
        "a": [1, 2],
        "3": [None, None],
        "p": 0.5,
    }

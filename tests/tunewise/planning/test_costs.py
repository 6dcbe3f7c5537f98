"""What a fit took tells what the next one takes: the same for the same work, in proportion for more."""

import json
from dataclasses import replace

import pytest

from tunewise.contracts import Device
from tunewise.methods import catalogue
from tunewise.outcome import Costs
from tunewise.planning.calibration import kept_calibration
from tunewise.planning.costs import Cost, cost_of_similar, scaled
from tunewise.planning.kept import Compared, compared, keep_estimate
from tunewise.planning.past import PastFit, past_fits, read_past
from tunewise.planning.plan import plan_study
from tunewise.provenance import mean_characters
from tunewise.request import Effort, Request
from tunewise.running import run
from tunewise.steps import Workplace
from tunewise.study_file import read_study
from tunewise.testing import toy_split
from tunewise.toy_study import write_toy_study

MACHINE = "a machine"
COSTS = Costs(
    fit_seconds=10.0,
    fit_cpu_seconds=8.0,
    features_seconds=0.0,
    predict_seconds=1.0,
    predict_cpu_seconds=1.0,
    latency_ms=1.0,
    throughput=100.0,
    peak_bytes=600,
    peak_above_start_bytes=100,
    device_peak_bytes=None,
    n_trained_parameters=1,
    n_total_parameters=1,
    stored_bytes=10,
    load_at_start=0.1,
    total_seconds=14.0,
    total_cpu_seconds=12.0,
)


def asked(method="tfidf_logistic", *, n_rows=100, epochs=2, **settings):
    """Return a request without a backbone on 144 toy rows."""
    found = replace(catalogue()[method], needs=frozenset())
    effort = Effort("quick", n_rows, epochs)
    return Request(found, found.settings(**settings), 0, toy_split(), None, Device("cpu", "float32", 1), effort)


def past_of(request, costs=COSTS, hardware=MACHINE):
    """Return an outcome of that request with made-up costs."""
    n_rows = {name: len(part) for name, part in request.split.parts()}
    data = {"n_rows": n_rows, "mean_characters": mean_characters(request.split.train.texts)}
    provenance = {"data": data, "backbone": None, "n_split_train_rows": 144}
    return PastFit("key", json.loads(json.dumps(request.determinants)), costs, hardware, provenance, 5_000)


def test_the_same_work_costs_the_same():
    """Nothing is scaled: seconds until the outcome is stored, processor seconds, peak, bytes."""
    cost = cost_of_similar(asked(), [past_of(asked())], MACHINE)

    assert cost == Cost(14.0, 12.0, 600, 5_000, "measured")


def test_twice_the_rows_take_twice_the_fit_and_the_same_answers():
    """4 s of scoring stay, 10 s of fitting and the memory above the start double."""
    cost = cost_of_similar(asked(n_rows=100), [past_of(asked(n_rows=50))], MACHINE)

    assert cost == Cost(24.0, 20.0, 700, 5_000, "scaled")


@pytest.mark.parametrize(("min_steps", "ratio"), [(0, 3.0), (40, 1.0)])
def test_gradient_fits_go_by_their_steps(min_steps, ratio):
    """96 rows in batches of 16 are 6 steps an epoch: 6 epochs are three times 2, unless a least number makes them equal."""
    request = asked("head_only", n_rows=96, epochs=6, batch_size=16, min_steps=min_steps)
    then = asked("head_only", n_rows=96, epochs=2, batch_size=16, min_steps=min_steps)

    assert scaled(past_of(then), request).seconds == 10.0 * ratio + 4.0


def test_what_ran_elsewhere_or_otherwise_tells_nothing():
    """Other hardware and other settings are no measure of this fit."""
    past = [past_of(asked(), hardware="another"), past_of(asked(c=[1.0]))]

    assert cost_of_similar(asked(), past, MACHINE) is None


def test_the_median_of_the_nearest_on_a_quiet_machine_counts():
    """Of five outcomes the three of equal work that were measured alone, of these the middle one."""
    quiet = [past_of(asked(), replace(COSTS, total_seconds=seconds)) for seconds in (11.0, 12.0, 20.0)]
    busy = past_of(asked(), replace(COSTS, total_seconds=90.0, load_at_start=1e6))
    other = past_of(asked(n_rows=20), replace(COSTS, total_seconds=1_000.0))

    assert cost_of_similar(asked(), [busy, other, *quiet], MACHINE).seconds == 12.0
    assert cost_of_similar(asked(), [busy], MACHINE).seconds == 90.0


def test_outcomes_that_noted_no_total_are_put_together_from_their_parts():
    """The fit, all test texts, 33 single ones and 256 in batches."""
    one = past_of(asked(), replace(COSTS, total_seconds=None, total_cpu_seconds=None))

    assert one.total_seconds == pytest.approx(10.0 + 1.0 + 33 * 0.001 + 2.56)
    assert one.total_cpu_seconds == 9.0


def test_broken_outcomes_are_passed_over(tmp_path, home):
    """A cut record and a folder that is no outcome do not end a plan."""
    run(write_toy_study(tmp_path / "toy"))
    outcomes = home.artifacts / "outcomes"
    assert len(past_fits(home)) == 2
    first = next(iter(sorted(outcomes.glob("[!.]*"))))
    (first / "outcome.json").write_text("{")
    (outcomes / "nothing").mkdir()

    assert read_past(first) is None
    assert len(past_fits(home)) == 1


def test_a_total_is_noted_with_every_outcome(tmp_path, home):
    """It holds the fit and what comes after it."""
    run(write_toy_study(tmp_path / "toy"))

    assert all(one.costs.total_seconds > one.costs.fit_seconds for one in past_fits(home))
    assert all(one.costs.total_cpu_seconds > 0 for one in past_fits(home))


def test_a_calibration_of_a_busy_machine_is_made_again_on_a_quiet_one(home, monkeypatch):
    """It stands while the machine is busy, and where nothing may be measured."""
    from tunewise.planning import calibration

    request = asked()
    file = calibration._file(request, home)
    file.parent.mkdir(parents=True)
    cost = Cost(1.0, 1.0, 1, 1, "calibrated")
    file.write_text(json.dumps({"cost": cost.to_json(), "load": 1e6}))
    monkeypatch.setattr(calibration, "load_now", lambda: 0.0)
    assert kept_calibration(request, home) is None
    assert kept_calibration(request, home, may_measure=False) == cost
    monkeypatch.setattr(calibration, "load_now", lambda: 1e6)
    assert kept_calibration(request, home) == cost


def test_estimates_are_compared_with_the_outcomes_they_were_made_for(tmp_path, home):
    """Both variants after a run; before it nothing, since a fit that is not there took nothing."""
    path = write_toy_study(tmp_path / "toy")
    plan = plan_study(Workplace(read_study(path), path.parent, home))
    keep_estimate(plan, home)
    assert compared("toy", home) == ()
    run(path)
    found = {one.variant: one for one in compared("toy", home)}

    assert set(found) == {"majority", "tfidf_logistic"}
    assert isinstance(found["majority"], Compared)
    assert found["tfidf_logistic"].seconds > 0
    assert found["tfidf_logistic"].disk_bytes == pytest.approx(found["tfidf_logistic"].estimated_disk_bytes, rel=0.5)

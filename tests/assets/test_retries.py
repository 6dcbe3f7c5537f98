"""What may pass is tried again after a pause; what will not mend itself is not."""

import dagster as dg
import pytest

from assets import retries
from assets.graph import study_assets
from assets.retries import RETRIES, only_what_may_pass
from resources.artifact_store import ArtifactStore, References
from resources.model_store import ModelStore
from resources.tracker import NoTracker
from tunewise.contracts import no_progress
from tunewise.errors import DataError, SettingsError, UnreachableError
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
AT_ONCE = RETRIES._replace(delay=0.01)


@pytest.fixture
def attempts():
    """Run a step that raises these errors one after the other, and return how many attempts there were and the failure."""

    def run(*errors):
        left, made = list(errors), []

        @dg.asset(retry_policy=AT_ONCE)
        def step(context: dg.AssetExecutionContext) -> None:
            made.append(context.retry_number)
            with only_what_may_pass(context):
                if left:
                    raise left.pop(0)

        done = dg.materialize([step], raise_on_error=False, run_config=QUIET)
        failed = done.filter_events(lambda event: event.is_step_failure)
        return len(made), failed[0].step_failure_data if failed else None

    return run


def test_what_passes_is_not_the_end(attempts):
    """A hub that is away for a moment costs a pause."""
    assert attempts(UnreachableError("no answer"), ConnectionError("refused")) == (3, None)


def test_what_does_not_pass_ends_after_three_attempts(attempts):
    """The error is the last attempt's own."""
    n, failure = attempts(*[UnreachableError("no answer")] * 5)

    assert n == retries.N_RETRIES + 1 == 3
    assert "no answer" in failure.error.to_string()


@pytest.mark.parametrize("error", [SettingsError("rank=0"), DataError("one class"), ValueError("wrong")], ids=repr)
def test_what_would_only_repeat_is_tried_once(attempts, error):
    """Settings and data do not mend themselves; the failure says the error in words."""
    n, failure = attempts(error)

    assert n == 1
    assert str(error) in failure.user_failure_data.description


@pytest.mark.parametrize("interruption", [dg.DagsterExecutionInterruptedError, KeyboardInterrupt])
def test_an_interrupted_step_is_not_tried_again_and_nothing_follows(interruption):
    """Ctrl-C ends the run: the step is not started anew, and the one after it not at all."""
    made = []

    @dg.asset(retry_policy=AT_ONCE)
    def first(context: dg.AssetExecutionContext) -> None:
        made.append("first")
        with only_what_may_pass(context):
            raise interruption

    @dg.asset
    def second() -> None:
        made.append("second")

    done = dg.materialize([first, second], raise_on_error=False, run_config=QUIET)

    assert made == ["first"]
    assert not done.success


def test_pauses_grow():
    """About four seconds, then about twelve, each moved by chance so that steps do not come back together."""
    one, two = (RETRIES._replace(jitter=None).calculate_delay(n) for n in (1, 2))

    assert (one, two) == (4.0, 12.0)
    assert RETRIES.jitter is dg.Jitter.PLUS_MINUS


def test_every_step_that_fetches_or_fits_is_tried_again(tmp_path):
    """The comparison reads what is here and is not."""
    path = write_toy_study(tmp_path, ["majority", "knn"])
    policies = {asset.key.path[1]: asset.op.retry_policy for asset in study_assets(read_study(path), tmp_path)}

    assert policies == dict.fromkeys(("dataset", "split", "embeddings", "majority", "knn"), RETRIES) | {"comparison": None}


def test_a_backbone_that_comes_late_is_waited_for(tmp_path, home, monkeypatch):
    """In process as anywhere: the second attempt finds the hub, and the study is whole."""
    path = write_toy_study(tmp_path / "toy", ["lora"])
    study = read_study(path)
    opened, left = ModelStore.open, [UnreachableError("no answer")]

    def open_late(self, *given):
        if left:
            raise left.pop()
        return opened(self, *given)

    monkeypatch.setattr(ModelStore, "open", open_late)
    monkeypatch.setattr("assets.adapted.RETRIES", AT_ONCE)
    root = str(home.root)
    resources = {
        "store": ArtifactStore(root=root),
        "models": ModelStore(root=root),
        "io_manager": References(root=root),
        "tracker": NoTracker(),
        "progress": no_progress,
    }
    assets = study_assets(study, path.parent)
    # The split's audit opens the backbone, too, and does without it.
    left.append(UnreachableError("no answer"))
    done = dg.materialize(assets, resources=resources, raise_on_error=False, run_config=QUIET)

    assert done.success
    assert [event.step_key for event in done.filter_events(lambda event: event.is_step_up_for_retry)] == ["toy__lora"]

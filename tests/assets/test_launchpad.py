"""Dagster's launchpad shows a variant's settings, and what is typed there is checked by the settings class."""

import dagster as dg
import pytest
from pydantic import ValidationError

from assets.launchpad import launchpad, settings_of
from tunewise.methods import catalogue
from tunewise.study import Study


def planned(method, **settings):
    """Return the only variant of a study of one method."""
    study = {"name": "toy", "data": {"source": "a.csv"}, "variants": [{"method": method, "settings": settings}]}
    return Study.model_validate(study).planned()[0]


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_methods_form_is_one_that_dagster_takes(name):
    """The form of each method can be shown, and left as it is it asks for the variant's own settings."""
    variant = planned(name)
    form = launchpad(variant)

    @dg.op
    def fit(config: form):
        return None

    assert fit.config_schema is not None
    assert settings_of(variant, form()) == variant.settings


def test_the_form_starts_from_the_variants_settings():
    """The study's rank is the default, not the method's."""
    assert launchpad(planned("lora", rank=32))().rank == 32


def test_what_is_typed_replaces_one_setting():
    """The others stay the variant's."""
    variant = planned("lora", alpha=4.0)
    settings = settings_of(variant, launchpad(variant)(rank=2))

    assert (settings.rank, settings.alpha) == (2, 4.0)


def test_what_is_out_of_range_is_refused():
    """The method's own bounds hold in the launchpad, too."""
    variant = planned("lora")

    with pytest.raises(ValidationError, match="greater than 0"):
        settings_of(variant, launchpad(variant)(rank=0))

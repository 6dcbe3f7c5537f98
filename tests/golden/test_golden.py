"""The shipped study's graph and forms as recorded: a change of either shows as a diff that somebody has to read.

``make golden`` writes them anew.
"""

import json
from pathlib import Path

import pytest

from assets.graph import study_assets
from assets.launchpad import launchpad
from pipelines.study_folders import SHIPPED
from tunewise.study_file import read_study

RECORDED = Path(__file__).parent
STUDY = SHIPPED / "movie_reviews" / "defs.yaml"


def graph():
    """Return what Dagster shows of each asset of the shipped study."""
    found = {}
    for asset in study_assets(read_study(STUDY), STUDY.parent):
        for key in sorted(asset.keys, key=str):
            spec = asset.specs_by_key[key]
            found[key.to_user_string()] = {
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "group": spec.group_name,
                "kinds": sorted(spec.kinds),
                "checks": sorted(check.name for check in asset.check_specs),
                "tags": {name: value for name, value in sorted(spec.tags.items()) if not name.startswith("dagster/")},
            }
    return found


def forms():
    """Return the launchpad's defaults of each variant of the shipped study."""
    return {variant.name: launchpad(variant)().model_dump(mode="json") for variant in read_study(STUDY).planned()}


@pytest.mark.parametrize(("name", "found"), [("graph", graph), ("forms", forms)])
def test_it_is_as_recorded(name, found, request):
    """What users see of the shipped study is what was reviewed last."""
    file = RECORDED / f"{name}.json"
    text = json.dumps(found(), indent=1) + "\n"
    if request.config.getoption("--rebuild-golden"):
        file.write_text(text)
    assert text == file.read_text()

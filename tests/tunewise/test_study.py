"""What a study means: the names of its variants, what contradicts, what stands for defaults."""

import pytest
from pydantic import ValidationError

from tunewise.methods import catalogue
from tunewise.study import Band, Study

TWO = [{"name": "one", "source": "path:one"}, {"name": "two", "source": "path:two"}]


def study(**fields):
    """Return a study with the given fields."""
    return Study.model_validate({"name": "mine", "data": {"source": "texts.csv"}, **fields})


def names(**fields):
    """Return the names under which a study's variants are planned."""
    return [variant.name for variant in study(**fields).planned()]


def test_a_study_without_variants_runs_every_default_method():
    """Naming no variant means the whole catalogue but what is marked as no default."""
    assert names() == [name for name, method in catalogue().items() if method.is_default]


def test_a_second_backbone_renames_nothing():
    """The first backbone adds no name, the second adds its own, so a study that grows keeps its history."""
    assert names(variants=["lora"]) == ["lora"]
    assert names(variants=["lora"], backbones=TWO) == ["lora", "lora_two"]
    assert names(variants=[{"method": "lora", "backbone": "two"}], backbones=TWO) == ["lora_two"]


def test_a_method_without_a_backbone_is_planned_once():
    """Two backbones do not make two majority classes."""
    assert names(variants=["majority"], backbones=TWO) == ["majority"]


def test_settings_tell_two_variants_of_one_method_apart():
    """The name says what differs from the defaults."""
    variants = [
        "lora",
        {"method": "lora", "settings": {"rank": 32}},
        {"method": "lora", "settings": {"rank": 4}, "name": "small"},
    ]

    assert names(variants=variants) == ["lora", "lora_rank_32", "small"]


def test_a_variants_compute_replaces_what_it_names_alone():
    """What a variant does not say of its compute is the study's."""
    given = study(compute={"cpus": 4, "memory_gb": 8}, variants=[{"method": "majority", "compute": {"cpus": 2}}])
    (variant,) = given.planned()

    assert (variant.compute.cpus, variant.compute.memory_gb) == (2, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variants": ["majority", "majority"]}, r"Two variants are called 'majority'"),
        ({"variants": [{"method": "majority", "name": "comparison"}]}, r"'comparison' is an asset of every study"),
        ({"variants": [{"method": "majority", "name": "embeddings_two"}]}, r"is an asset of every study"),
        ({"variants": [{"method": "majority", "backbone": "minilm"}]}, r"majority uses no backbone\. Remove this line"),
        ({"variants": [{"method": "lora", "backbone": "other"}]}, r"'other' is no backbone of the study; it has minilm"),
        ({"backbones": [TWO[0], TWO[0]]}, r"'one' stands here a second time"),
        ({"seeds": [1, 1]}, r"1 stands here a second time"),
        ({"cron": "0 3 * *"}, r"has 4 fields; five are needed"),
        ({"cron": "0 24 * * *"}, r"'24' is no hour\. Use numbers from 0 to 23"),
        ({"cron": "a * * * *"}, r"'a' is no minute"),
        ({"cron": "*/0 * * * *"}, r"'\*/0' is no minute"),
        ({"name": "two__lines"}, r"should match pattern"),
        ({"tracking": {"uri": "http://me:word@host"}}, r"holds a password\. Put the uri in an environment variable"),
        ({"data": {"source": "a", "split": {"test": 0.5, "development": 0.4}}}, r"take 0\.9 of the rows; at most 0\.8"),
        ({"data": {"source": "a", "split": {"test": "0.2"}}}, r"is text; write the share 0\.2 without quotes"),
        (
            {"data": {"source": "a", "label": "x", "ratings": {"bands": {"a": {"below": 0}, "b": {"above": 0}}}}},
            r"a row has one class",
        ),
        (
            {"data": {"source": "a", "ratings": {"bands": {"a": {"at_most": 0}, "b": {"at_least": 0}}}}},
            r"bands of 'a' and 'b' overlap",
        ),
    ],
)
def test_contradictions_are_refused_in_words(fields, message):
    """Each contradiction names what was given and what to do."""
    with pytest.raises(ValidationError, match=message):
        study(**fields)


def test_bands_that_touch_without_meeting_are_allowed():
    """Below zero and from zero on hold no rating in common."""
    assert not Band(below=0.0).meets(Band(at_least=0.0))
    assert Band(at_most=0.0).meets(Band(at_least=0.0))


@pytest.mark.parametrize("cron", ["0 3 1 * *", "*/15 0-6,22 * 1-6/2 1,3,5", "59 23 31 12 7"])
def test_times_that_cron_knows_are_taken(cron):
    """Lists, ranges and steps are times."""
    assert study(cron=cron).cron == cron


def test_the_schema_shows_names_as_well_as_mappings():
    """Editors and `dg check yaml` read the schema: a bare name of a backbone or a method is right there, too."""
    properties = Study.model_json_schema()["properties"]
    backbones = properties["backbones"]["items"]["anyOf"]
    variants = properties["variants"]["anyOf"][0]["items"]["anyOf"]

    assert {"type": "string"} in backbones
    assert any("lora" in one.get("enum", ()) for one in variants)

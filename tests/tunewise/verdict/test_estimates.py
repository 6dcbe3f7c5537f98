"""The page sets what a run was estimated to take beside what it took."""

from tunewise.planning.kept import Compared
from tunewise.verdict import build_verdict
from tunewise.verdict.estimates import rows
from tunewise.verdict.numbers import numbers
from tunewise.verdict.page import as_page


def compared(variant, seconds, *, estimated=10.0):
    """Return three fits of a variant: estimated seconds, what they took, a gigabyte of memory, a megabyte of disk."""
    return Compared(variant, 3, 3, estimated, seconds, 9.0, 9.0, 1_000_000_000, 1_500_000_000, 1_000_000, 1_000_000)


def test_ratios_are_fact_over_estimate_and_sums_come_last(make, judge):
    """A run that took longer has a ratio above 1; seconds and bytes add up, of peaks the highest counts."""
    verdict = build_verdict(judge(make("lora")).study, make("lora"), estimates=[compared("lora", 12.0), compared("knn", 3.0)])
    first, second, together = rows(verdict)

    assert first["cells"] == ["10.0 s", "12.0 s", "1.20", "1.0 GB", "1.5 GB", "1.50", "1.0 MB", "1.0 MB", "1.00"]
    assert second["cells"][:3] == ["10.0 s", "3.0 s", "0.30"]
    assert (together["name"], together["n_fits"]) == ("together", "6")
    assert together["cells"] == ["20.0 s", "15.0 s", "0.75", "1.0 GB", "1.5 GB", "1.50", "2.0 MB", "2.0 MB", "1.00"]


def test_the_page_has_the_table_only_where_something_was_estimated(make, judge):
    """Page and JSON hold the same variants; without an estimate there is neither table nor entry."""
    study = judge(make("lora")).study
    with_one = build_verdict(study, make("lora"), estimates=[compared("lora", 12.0)])
    without = build_verdict(study, make("lora"))

    assert 'id="estimates"' in as_page(with_one)
    assert "#estimates" in as_page(with_one)
    assert 'id="estimates"' not in as_page(without)
    assert [one["variant"] for one in numbers(with_one)["estimates"]] == ["lora"]
    assert numbers(without)["estimates"] == []
    assert len(rows(with_one)) == 1


def test_an_estimate_of_nothing_has_no_ratio(make, judge):
    """Zero estimated seconds give a dash, never an error."""
    verdict = build_verdict(judge(make("lora")).study, make("lora"), estimates=[compared("lora", 1.0, estimated=0.0)])

    assert rows(verdict)[0]["cells"][2] == "–"

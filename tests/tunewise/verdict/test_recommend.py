"""The sentence on top, and the rule behind it."""

from dataclasses import replace

from tunewise.outcome import Missing


def test_the_cheapest_of_those_not_told_apart_is_recommended(make, judge, costs):
    """Two variants of one quality: the one that fits faster, though the other's mean is a hair better."""
    slow = make("slow", 0.85, costs=replace(costs, fit_seconds=90.0))
    fast = make("fast", 0.85, costs=replace(costs, fit_seconds=30.0))

    got = judge([*slow, *fast, *make("poor", 0.6)]).recommendation

    assert set(got.tied) == {"slow", "fast"}
    assert got.chosen == "fast"


def test_answering_counts_before_fitting(make, judge, costs):
    """A variant that answers ten times as fast is the cheaper one, though it fits more slowly."""
    quick = make("quick", 0.85, costs=replace(costs, predict_seconds=0.4, fit_seconds=90.0))

    assert judge([*quick, *make("slow", 0.85)]).recommendation.chosen == "quick"


def test_nearly_equal_times_to_answer_count_as_equal(make, judge, costs):
    """Ten percent in the time to answer is noise; the time to fit then decides."""
    one = make("one", 0.85, costs=replace(costs, predict_seconds=4.0, fit_seconds=90.0))
    other = make("other", 0.85, costs=replace(costs, predict_seconds=4.4, fit_seconds=9.0))

    assert judge([*one, *other]).recommendation.chosen == "other"


def test_costs_of_other_hardware_do_not_compete(make, judge, costs):
    """A tied variant measured elsewhere is not called cheaper, and the page says so."""
    rows = [*make("here", 0.853), *make("there", 0.85, hardware="a GPU", costs=replace(costs, fit_seconds=0.01))]
    verdict = judge(rows)
    best = verdict.standings[0]

    assert verdict.recommendation.chosen == best.variant
    assert any("other hardware" in note for note in verdict.recommendation.notes)


def test_the_sentence_in_words(make, judge, costs):
    """Numbers, the tie, and the much cheaper one stand in plain words."""
    dear = make("all_layers", 0.9, costs=replace(costs, fit_seconds=90.0), seeds_sd=0)
    cheap = make("lora", 0.9, costs=replace(costs, fit_seconds=30.0), seeds_sd=0)
    quick = make("tfidf", 0.6, costs=replace(costs, predict_seconds=0.1, fit_seconds=0.5))

    sentence = judge([*dear, *cheap, *quick]).sentence

    chosen = judge([*dear, *cheap, *quick]).standings
    value = {one.variant: 100 * one.estimates["accuracy"].value for one in chosen}
    assert sentence.startswith(f"Use lora: {value['lora']:.1f}% (")
    assert "of 400 test texts right; all_layers" in sentence
    assert "cannot be told from it" in sentence
    assert "times as long to fit. tfidf answers 40 times as fast and is " in sentence
    assert f"{value['lora'] - value['tfidf']:.1f} points lower." in sentence


def test_a_clear_winner_stands_alone(make, judge):
    """Without a tie or a cheaper one the sentence is one claim, and a note gives the lead."""
    verdict = judge([*make("good", 0.9), *make("poor", 0.6)])

    assert verdict.sentence.startswith("Use good: ")
    assert verdict.sentence.endswith("% (" + verdict.sentence.split("% (")[1])
    assert verdict.recommendation.tied == ("good",)
    assert any(note.startswith("good is better than poor, the next, by ") for note in verdict.recommendation.notes)


def test_other_metrics_are_told_without_percent(make, judge):
    """Macro-F1 and log loss are numbers, not percentages of texts."""
    rows = [*make("good", 0.9), *make("poor", 0.6)]

    assert judge(rows, metric="macro_f1").sentence.startswith("Use good: macro-F1 0.")
    assert judge(rows, metric="log_loss").sentence.startswith("Use good: log loss 0.")


def test_shuffled_labels_are_said_to_be(make, judge):
    """Where nothing beats chance nothing is recommended, whatever the majority class gets."""
    blind = ("at chance: its test accuracy 0.498 on 400 texts cannot be told from answering the largest class alone",)
    rows = [*make("majority", 0.52), *make("lora", 0.5, marks=blind), *make("knn", 0.5, marks=blind)]

    verdict = judge(rows)

    assert verdict.sentence == (
        "No variant learned anything: on 400 test texts none of 2 variants does better than chance. "
        "Look at the labels before trying more."
    )
    assert verdict.recommendation.chosen is None


def test_no_outcome_at_all(judge):
    """Where everything failed the sentence says so, and no number is made up."""
    missing = [Missing("lora", 0, "failed", "boom"), Missing("knn", 0, "never ran")]

    verdict = judge([], missing)

    assert verdict.sentence == "There is nothing to compare yet: no variant has an outcome (1 of 2 variants failed)."
    assert verdict.standings == ()


def test_the_majority_class_alone_is_no_choice(make, judge):
    """A study whose only outcome is the majority class recommends nothing."""
    assert judge(make("majority", 0.9)).sentence.startswith("There is nothing to recommend: majority looks at no text")


def test_what_is_missing_stands_in_the_notes(make, judge, missing):
    """A verdict without some fits names them with the reason."""
    notes = judge(make("lora"), missing).recommendation.notes

    assert "The verdict is without these fits: prefix_tuning (failed) and prompt_tuning (never ran)." in notes


def test_variants_without_an_outcome_stand_in_the_sentence(make, judge, missing):
    """Whoever reads the sentence alone learns that it is not the whole study's."""
    rows = make("lora")

    assert judge(rows, missing[:2]).sentence.endswith("right. prefix_tuning has no outcome.")
    more = [Missing(name, 0, "never ran") for name in ("a", "b", "c")]
    assert judge(rows, more).sentence.endswith("right. 3 of 4 variants have no outcome.")
    assert judge(rows, [Missing("lora", 3, "failed", "boom")]).sentence.endswith("test texts right.")

"""The folder of a verdict: page, Markdown, JSON; whole, self-contained, closed to foreign markup."""

import base64
import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import Mock

import pytest

from tunewise.artifacts import read_folder
from tunewise.errors import ComparisonError
from tunewise.outcome import Missing
from tunewise.verdict import write_page
from tunewise.verdict.markdown import as_markdown
from tunewise.verdict.numbers import numbers
from tunewise.verdict.page import NUMBERS, PAGE, TABLE, as_page

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (SCRIPT, "</script><img src=x onerror=alert(2)>", "<b>bold</b> $x^2$ %{x}", "\u202eevil\u2028 مرحبا")


class Reader(HTMLParser):
    """Collects the tags, the scripts and the visible text of a page, as a browser's tokenizer sees them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text, self.open = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Keep the tag with its attributes."""
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, _tag):
        """Leave scripts and styles."""
        self.open = ""

    def handle_data(self, data):
        """Tell scripts and styles from text."""
        if self.open == "script":
            self.scripts[-1] += data
        elif self.open != "style":
            self.text.append(data)

    @property
    def payload(self):
        """The JSON the pictures are drawn from."""
        return json.loads(self.scripts[0])


@pytest.fixture
def hostile(make, judge):
    """A verdict whose classes, names, settings, marks, errors, texts and findings are markup, overrides and a megabyte."""
    bad = {"classes": HOSTILE, "settings_changed": {"x": SCRIPT}, "curve": ({"step": 1.0, "loss": 0.5},)}
    rows = [*make("lora", **bad), *make(SCRIPT, 0.7, family=SCRIPT, marks=(SCRIPT,), **bad), *make("rtl\u202eabc", 0.6, **bad)]
    kinds = (f"{SCRIPT}\u202e", "x" * 1_000_000, (SCRIPT, "{{ 7 * 7 }}"))
    texts = {f"row{i:05d}": kinds[i % 3] for i in range(400)}
    findings = [{"name": SCRIPT, "passed": False, "message": SCRIPT, "rows": ({SCRIPT: SCRIPT},)}]
    return judge(rows, [Missing(SCRIPT, 0, "failed", SCRIPT)], texts=texts, findings=findings, description=SCRIPT)


def test_the_folder_holds_page_table_and_numbers(make, judge, tmp_path):
    """The three files stand in a folder that is whole, and nothing is left beside it."""
    page = write_page(judge(make("lora")), tmp_path / "comparison")

    assert page == tmp_path / "comparison" / PAGE
    assert read_folder(page.parent).kind == "comparison"
    assert {path.name for path in page.parent.iterdir()} == {PAGE, TABLE, NUMBERS, "manifest.json"}
    assert {path.name for path in tmp_path.iterdir() if path.name != "home"} == {"comparison", ".comparison.lock"}


def test_an_earlier_verdict_is_replaced(make, judge, tmp_path):
    """The second page takes the place of the first."""
    write_page(judge(make("lora")), tmp_path / "comparison")

    page = write_page(judge(make("knn")), tmp_path / "comparison")

    assert "Use knn" in page.read_text()
    assert json.loads((page.parent / NUMBERS).read_text())["recommendation"]["chosen"] == "knn"


def test_a_failure_leaves_the_earlier_verdict(make, judge, tmp_path, monkeypatch):
    """An error before the last file is made leaves the folder as it was."""
    page = write_page(judge(make("lora")), tmp_path / "comparison")
    before = page.read_bytes()
    monkeypatch.setattr("tunewise.verdict.page.numbers", lambda _: {"bad": float("nan")})

    with pytest.raises(ValueError, match=r"nan|JSON"):
        write_page(judge(make("knn")), page.parent)

    assert page.read_bytes() == before


def test_an_error_between_the_renames_puts_the_earlier_verdict_back(make, judge, tmp_path, monkeypatch):
    """The new folder cannot be moved into its place, and the old one stands there again."""
    page = write_page(judge(make("lora")), tmp_path / "comparison")
    rename = Path.rename

    def refuse(self, target):
        if self.name == ".comparison.new" and Path(target).name == "comparison":
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="the disk is gone"):
        write_page(judge(make("knn")), page.parent)

    assert "Use lora" in page.read_text()
    assert {path.name for path in tmp_path.iterdir() if path.name != "home"} == {"comparison", ".comparison.lock"}


def test_a_kill_between_the_renames_loses_no_verdict(make, judge, tmp_path, monkeypatch):
    """The next writer puts the old verdict back first, so that it stands even where that writer fails; then it is tidy."""
    page = write_page(judge(make("lora")), tmp_path / "comparison")
    page.parent.rename(tmp_path / ".comparison.old")
    (tmp_path / ".comparison.new").mkdir()
    (tmp_path / "..comparison.new.0123").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("tunewise.verdict.page.new_folder", Mock(side_effect=OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_page(judge(make("knn")), page.parent)
    assert "Use lora" in page.read_text()

    write_page(judge(make("knn")), page.parent)

    assert "Use knn" in page.read_text()
    assert {path.name for path in tmp_path.iterdir() if path.name != "home"} == {"comparison", ".comparison.lock"}


def test_several_writers_at_once_take_turns(make, judge, tmp_path):
    """All of eight end without an error, and what stands is a whole verdict of one of them."""
    verdicts = [judge(make(name, n=50)) for name in ("lora", "knn")] * 4

    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda verdict: write_page(verdict, tmp_path / "comparison"), verdicts))

    assert set(pages) == {tmp_path / "comparison" / PAGE}
    assert read_folder(tmp_path / "comparison").kind == "comparison"
    assert {path.name for path in tmp_path.iterdir() if path.name != "home"} == {"comparison", ".comparison.lock"}


def test_memory_is_what_the_fit_added(make, judge, costs):
    """What the process held before the fit is another's; the JSON alone has it."""
    of_fit = replace(costs, peak_bytes=987_000_000, peak_above_start_bytes=123_000_000)
    verdict = judge(make("lora", costs=of_fit))
    page = Reader(as_page(verdict))

    assert "123 MB" in "".join(page.text)
    assert "987 MB" not in as_page(verdict) + as_markdown(verdict)
    assert "123 MB" in as_markdown(verdict)
    assert {"peak_above_start_bytes", "fit_and_features_seconds"} < {axis["name"] for axis in page.payload["axes"]}
    assert numbers(verdict)["variants"][0]["costs"]["peak_bytes"] == 987_000_000


def test_a_fit_on_a_busy_machine_is_marked(make, judge, costs):
    """A load clearly above the two cores is told beside the variant, which is ranked all the same."""
    verdict = judge(
        [*make("lora", 0.9, costs=replace(costs, load_at_start=2.6)), *make("knn", costs=replace(costs, load_at_start=2.5))]
    )

    assert [(one.variant, one.marks) for one in verdict.standings] == [("lora", ("measured beside other work",)), ("knn", ())]
    assert verdict.recommendation.chosen == "lora"
    assert "measured beside other work" in as_page(verdict)
    assert "(measured beside other work)" in as_markdown(verdict)


def test_a_folder_with_other_files_is_not_replaced(make, judge, tmp_path):
    """Files that are no verdict's would be deleted, so the folder is refused by their name."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.docx").write_text("dear")

    with pytest.raises(ComparisonError, match=r"thesis\.docx, which is no part of a verdict"):
        write_page(judge(make("lora")), tmp_path / "mine")

    assert (tmp_path / "mine" / "thesis.docx").read_text() == "dear"


def test_sixteen_variants_fit_into_six_megabytes(large_rows, judge, tmp_path):
    """The page of 16 variants, 3 seeds and 2,000 texts is below 6 MB and takes seconds."""
    start = time.perf_counter()
    page = write_page(judge(large_rows), tmp_path / "comparison")

    assert time.perf_counter() - start < 20
    assert page.stat().st_size < 6_000_000
    assert page.read_text().count('scope="row"') >= 16


def test_the_page_loads_nothing(hostile):
    """No element names an address outside the page, and the policy forbids all but the page's own scripts."""
    page = Reader(as_page(hostile))

    addresses = [attrs[name] for _, attrs in page.tags for name in ("src", "href", "action", "data", "poster") if attrs.get(name)]
    assert {address for address in addresses if not address.startswith("#")} == {"data:,", NUMBERS, TABLE}
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    for script in page.scripts[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_foreign_markup_is_text(hostile):
    """Markup from data makes no element: there are three scripts, no image, no bold, and the text is all there."""
    page = Reader(as_page(hostile))

    assert len(page.scripts) == 3
    assert not [tag for tag, _ in page.tags if tag in {"img", "iframe", "object"}]
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "".join(page.text).count(SCRIPT) > 10
    assert SCRIPT in page.payload["classes"]
    assert "{{ 7 * 7 }}" in page.text


def test_overrides_are_written_out_everywhere(hostile):
    """No right-to-left override and no line separator reaches the page, its payload or the Markdown."""
    page = as_page(hostile)

    own = page[: page.index('id="payload"')]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028]", own)
    assert "rtl‹U+202E›abc" in own
    assert not [label for label in Reader(page).payload["classes"] if "\u202e" in label]


def test_a_megabyte_is_cut(hostile):
    """A line of 1 MB is shown as 500 characters with its length."""
    page = as_page(hostile)

    assert "x" * 501 not in page
    assert "… (1,000,000 characters)" in page


def test_markdown_shows_markup_as_text(hostile, tmp_path):
    """In the table no tag and no cell border comes from data."""
    table = (write_page(hostile, tmp_path / "comparison").parent / TABLE).read_text()

    assert "<script" not in table
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in table
    assert "\u202e" not in table
    assert {line.count(" | ") for line in table.splitlines() if line.startswith("|")} == {9}


def test_every_variant_has_a_row_and_the_chosen_is_marked(make, judge):
    """Headings and rows carry scopes, and the recommended row says so in words."""
    page = Reader(as_page(judge([*make("good", 0.9), *make("poor", 0.6)])))

    rows = [attrs for tag, attrs in page.tags if tag == "th" and attrs.get("scope") == "row" and "data-value" in attrs]
    assert [attrs["data-value"] for attrs in rows] == ["good", "poor"]
    assert all(attrs.get("scope") in {"row", "col"} for tag, attrs in page.tags if tag == "th")
    assert "recommended" in page.text


def test_intervals_share_one_scale(make, judge):
    """The worst ranked variant's interval begins at 0 and the best one's ends at 200."""
    page = Reader(as_page(judge([*make("good", 0.9), *make("poor", 0.6)])))

    spans = [attrs for tag, attrs in page.tags if tag == "line" and attrs["class"] == "span"]
    assert (spans[0]["x2"], spans[1]["x1"]) == ("200.0", "0.0")


def test_what_is_missing_is_shown_with_its_error(make, judge, missing):
    """A failed variant stands with its message, one that never ran without one."""
    text = " ".join(Reader(as_page(judge(make("lora"), missing))).text)

    assert "the loss became NaN at step 31" in text
    assert "prompt_tuning" in text
    assert "never ran" in text


def test_an_uncommitted_tree_is_said(make, judge):
    """A variant that ran from changed code is named above the commit."""
    rows = make("lora")
    rows[0] = replace(rows[0], outcome=replace(rows[0].outcome, provenance=rows[0].outcome.provenance | {"is_dirty": True}))

    text = " ".join(Reader(as_page(judge([*rows, *make("knn", 0.7)]))).text)

    assert "lora ran from code with uncommitted changes" in text


def test_variants_that_lack_the_same_stand_together(make, judge, tmp_path):
    """One line for all that never ran, one for each error, with their seeds."""
    absent = [Missing(name, seed, "never ran") for name in ("a", "b") for seed in (0, 1)]

    page = write_page(judge(make("lora"), [*absent, Missing("c", 0, "failed", "too | wide")]), tmp_path / "comparison")

    table = (page.parent / TABLE).read_text()
    assert "- never ran: `a`, `b` (seeds 0 and 1)\n- failed: `c` (seed 0): too \\| wide\n" in table


def test_provenance_that_differs_shows_its_values(make, judge):
    """What all outcomes share stands once; what differs stands side by side."""
    rows = make("lora")
    for i, commit in enumerate(("aaa", "bbb", "bbb")):
        rows[i] = replace(rows[i], outcome=replace(rows[i].outcome, provenance=rows[i].outcome.provenance | {"commit": commit}))

    text = Reader(as_page(judge(rows))).text

    assert text[text.index("commit") + 1] == "aaa and bbb"
    assert text[text.index("versions.torch") + 1] == "2.13.0"


def test_nothing_to_compare_is_a_page_too(judge, missing, tmp_path):
    """Without any outcome the page says what failed, and carries no pictures."""
    page = write_page(judge([], missing), tmp_path / "comparison").read_text()

    assert "There is nothing to compare yet" in page
    assert len(Reader(page).scripts) == 1


def test_many_classes_are_named_and_not_drawn(make, judge):
    """Above 100 classes the matrix is left out and the most frequent mistakes stay."""
    classes = tuple(f"class {i}" for i in range(120))

    payload = Reader(as_page(judge(make("lora", classes=classes)))).payload

    assert payload["variants"][0]["confusion"] is None
    assert len(payload["variants"][0]["mixed_up"]) == 5


def test_long_curves_are_thinned(make, judge):
    """At most 200 points of a curve are drawn; the JSON keeps all of them."""
    curve = tuple({"step": float(i), "loss": 1.0 / (i + 1)} for i in range(1_001))

    series = Reader(as_page(judge(make("lora", curve=curve)))).payload["variants"][0]["curves"][0]["series"]

    assert len(series["loss"][0]) == 167
    assert series["loss"][0][:3] == [0, 6, 12]


def test_the_page_is_determined_by_its_verdict(make, judge):
    """The same outcomes give the same bytes: no clock, no chance."""
    rows = [*make("lora"), *make("knn", 0.7)]

    assert as_page(judge(rows)) == as_page(judge(rows))


def test_classes_stay_what_they_are(make, judge, tmp_path):
    """Integers and booleans are shown as text in the page and stay themselves in the JSON."""
    page = write_page(judge(make("lora", classes=(0, 1))), tmp_path / "comparison")

    assert json.loads((page.parent / NUMBERS).read_text())["classes"] == [0, 1]
    assert Reader(page.read_text()).payload["classes"] == ["0", "1"]

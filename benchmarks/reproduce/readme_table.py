"""Writes the README's result table from the shipped study's outcomes at the standard budget, fitting what is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tunewise
from pipelines.launch import start_rightly
from tunewise.artifacts import write_atomically
from tunewise.verdict.markdown import as_table, escaped

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "pipelines" / "studies" / "movie_reviews" / "defs.yaml"
README = ROOT / "README.md"
MARKS = re.compile(r"(<!-- results: .*? -->\n).*?(<!-- end of results -->)", re.DOTALL)


def main() -> None:
    """Replace what stands between the README's two marks."""
    verdict = tunewise.run(STUDY, budget="standard")
    rows, seeds = verdict.outcomes[0].conditions["n_train_rows"], len(verdict.study.seeds)
    text = "\n".join(
        [
            f"Movie reviews, positive or negative, {rows:,} training and {verdict.n_texts:,} test texts, {seeds} seeds,",
            f"on {verdict.hardware} (`tunewise run movie_reviews --budget standard`):",
            "",
            f"> {escaped(verdict.sentence)}",
            "",
            as_table(verdict),
            "",
        ]
    )
    write_atomically(README, MARKS.sub(lambda found: f"{found[1]}{text}{found[2]}", README.read_text(encoding="utf-8")))


if __name__ == "__main__":
    start_rightly(*sys.argv)
    main()

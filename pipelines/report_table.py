"""The comparison as the command line prints it, read from the numbers its page was drawn from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.console import out, table
from tunewise.verdict.wording import METRIC_TITLES, clean, score, seconds

if TYPE_CHECKING:
    from pathlib import Path


def print_comparison(folder: Path) -> None:
    """Print what to use, one line per variant, what is missing, and where the page is."""
    numbers = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    metric = numbers["metric"]
    out.print()
    out.print(clean(numbers["sentence"]), style="bold", markup=False)
    out.print()
    columns = ("variant", METRIC_TITLES[metric], "95% interval", "fit", "one text", "note")
    out.print(table(columns, [_line(one, metric) for one in numbers["variants"]]))
    for line in dict.fromkeys(_why(one) for one in numbers["missing"]):
        out.print(line, style="yellow", markup=False)
    out.print()
    out.print(f"Page: {folder / 'index.html'}", markup=False, soft_wrap=True)


def _why(one: dict[str, Any]) -> str:
    """Return why a fit has no outcome; seeds that lack one for the same reason share a line."""
    return f"{one['variant']}: {one['reason']}" + (f". {one['message']}" if one["message"] else "")


def _line(one: dict[str, Any], metric: str) -> list[str]:
    estimate, costs = one["test"].get(metric), one["costs"]
    ends = [score(metric, estimate[end]).removesuffix("%") for end in ("low", "high")] if estimate else []
    notes = [*(["recommended"] if one["is_recommended"] else []), *one["marks"]]
    return [
        one["variant"],
        score(metric, estimate["value"]) if estimate else "–",
        " to ".join(ends) or "–",
        seconds(costs["fit_and_features_seconds"]),
        f"{costs['latency_ms']:.1f} ms",
        "; ".join(notes),
    ]

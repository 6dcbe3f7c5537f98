"""The verdict as Markdown: the sentence, the table, what is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunewise.study import NAME
from tunewise.verdict import sections
from tunewise.verdict.wording import METRIC_TITLES, clean, interval, score, seconds, share, size, visible

if TYPE_CHECKING:
    from tunewise.verdict.conclusion import Verdict
    from tunewise.verdict.standing import Standing

TITLES = ("Fit and features", "One text", "Memory added", "Stored", "Trained", "Seeds")


def as_markdown(verdict: Verdict) -> str:
    """Return the whole document."""
    parts = [
        f"# {name(verdict.study.name)}",
        f"**{escaped(clean(verdict.sentence))}**",
        "\n".join(f"- {escaped(clean(note))}" for note in verdict.recommendation.notes),
        as_table(verdict) if verdict.standings else "",
        _missing(verdict),
        f"Again: `tunewise run {verdict.study.name}`",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_table(verdict: Verdict) -> str:
    """Return the variants as a table, best first, marked ones last."""
    metrics = [verdict.metric, *(other for other in ("accuracy", "macro_f1", "log_loss") if other != verdict.metric)]
    head = ["Variant", f"{METRIC_TITLES[metrics[0]]} (95% interval)", *(METRIC_TITLES[other] for other in metrics[1:]), *TITLES]
    lines = [head, ["---", *("---:" for _ in head[1:])], *(_cells(verdict, standing, metrics) for standing in verdict.standings)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Return a foreign text that Markdown shows as it is, in one line, in a table or outside."""
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, written)
    return re.sub(r"([\\`*\[\]|#~$])", r"\\\1", text)


def name(text: str) -> str:
    """Return a name as code, or escaped where it could end the code."""
    return f"`{text}`" if re.fullmatch(NAME, text) else escaped(visible(text))


def _cells(verdict: Verdict, standing: Standing, metrics: list[str]) -> list[str]:
    values = {metric: given.value for metric, given in standing.estimates.items()}
    chosen = " **recommended**" if standing.variant == verdict.recommendation.chosen else ""
    marks = f" ({escaped(visible('; '.join(standing.marks)))})" if standing.marks else ""
    costs = standing.outcomes[0].costs
    return [
        f"{name(standing.variant)}{chosen}{marks}",
        interval(metrics[0], standing.estimate) if standing.estimate else "–",
        *(score(metric, values.get(metric)) for metric in metrics[1:]),
        seconds(standing.costs["fit_and_features_seconds"]),
        seconds(standing.costs["latency_ms"] / 1000),
        size(standing.costs["peak_above_start_bytes"]),
        size(standing.costs["stored_bytes"]),
        share(costs.n_trained_parameters, costs.n_total_parameters),
        str(len(standing.seeds)),
    ]


def _missing(verdict: Verdict) -> str:
    lines = []
    for group in sections.missing(verdict):
        message = f": {escaped(visible(group['message']))}" if group["message"] else ""
        lines.append(f"- {group['reason']}: {', '.join(name(one) for one in group['variants'])} ({group['seeds']}){message}")
    return "\n".join(lines)

"""What stands beside a materialisation on Dagster's pages: figures they plot, tables, small pictures, links."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import pages

if TYPE_CHECKING:
    from tunewise.artifacts import ArtifactRef
    from tunewise.contracts import Split
    from tunewise.data.dataset import Dataset
    from tunewise.features import FeaturesReport
    from tunewise.steps import Fits
    from tunewise.verdict import Verdict

N_SHOWN, N_CHARACTERS, N_CLASSES = 5, 300, 100


def of_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return the size, the classes and the first rows of a data set."""
    counts = Counter(dataset.labels.tolist())
    shares = {str(label): counts[i] / max(1, len(dataset)) for i, label in enumerate(dataset.classes)}
    examples = [
        {"id": dataset.ids[i], "class": str(dataset.classes[dataset.labels[i]]), "text": str(dataset.texts[i])[:N_CHARACTERS]}
        for i in range(min(N_SHOWN, len(dataset)))
    ]
    largest = dict(sorted(shares.items(), key=lambda item: -item[1])[:20])
    return {
        "dagster/row_count": len(dataset),
        "n_classes": len(dataset.classes),
        "n_left_out": sum(dataset.n_left_out.values()),
        "largest_class_share": max(shares.values(), default=0.0),
        "licence": dataset.licence,
        "fingerprint": dataset.fingerprint,
        "examples": pages.table(examples),
        "class_shares": pages.picture(pages.bars(largest), "share of each class"),
    }


def of_split(split: Split) -> dict[str, Any]:
    """Return how many rows of each class are on each side."""
    counts = {name: len(part) for name, part in split.parts()}
    table = [
        {"class": str(label)} | {name: int((part.labels == i).sum()) for name, part in split.parts()}
        for i, label in enumerate(split.classes[:N_CLASSES])
    ]
    return {f"n_{name}": n for name, n in counts.items()} | {"fingerprint": split.fingerprint, "classes": pages.table(table)}


def of_report(report: FeaturesReport) -> dict[str, Any]:
    """Return what was computed, what was reused, and how fast."""
    rate = report.n_computed / report.seconds if report.n_computed and report.seconds else 0.0
    return {
        "dagster/row_count": report.n_reused + report.n_computed,
        "n_reused": report.n_reused,
        "n_computed": report.n_computed,
        "n_tokens": report.n_tokens,
        "seconds": report.seconds,
        "texts_per_second": rate,
        "hidden_size": report.hidden_size,
    }


def of_fits(fits: Fits, link: str | None) -> dict[str, Any]:
    """Return the means over seeds, a line per seed, the curve, and the link to the tracked run."""
    shown: dict[str, Any] = dict(pages.means(fits.rows))
    shown |= {"seeds": pages.rows_table(fits.rows, fits.missing), "n_reused": sum(row.is_reused for row in fits.rows)}
    if link:
        shown["mlflow"] = dg.MetadataValue.url(link)
    if drawing := pages.curves(fits.rows):
        shown["training_loss"] = pages.picture(drawing, "training loss by step")
    return shown


def figures_of(verdict: Verdict) -> dict[str, float]:
    """Return the deciding metric of each ranked variant, and the recommended one's as a figure of its own."""
    figures = {f"{one.variant}.{verdict.metric}": one.estimate.value for one in verdict.standings if one.estimate}
    chosen = figures.get(f"{verdict.recommendation.chosen}.{verdict.metric}")
    return figures | ({} if chosen is None else {f"recommended.{verdict.metric}": chosen})


def of_verdict(verdict: Verdict, reference: ArtifactRef) -> dict[str, Any]:
    """Return the sentence, the table, what is missing and where the page is."""
    lines = [
        {
            "variant": one.variant,
            verdict.metric: one.estimate.value if one.estimate else float("nan"),
            "low": one.estimate.low if one.estimate else float("nan"),
            "high": one.estimate.high if one.estimate else float("nan"),
            "fit_seconds": one.costs["fit_seconds"],
            "note": "; ".join(one.marks),
        }
        for one in verdict.standings
    ]
    missing = [
        {"variant": one.variant, "seed": one.seed, "reason": one.reason, "message": one.message} for one in verdict.missing
    ]
    shares = {
        line["variant"]: max(0.0, min(1.0, line[verdict.metric]))
        for line in lines
        if line[verdict.metric] == line[verdict.metric]
    }
    shown: dict[str, Any] = dict(figures_of(verdict))
    shown |= {
        "use": verdict.sentence,
        "page": dg.MetadataValue.path(reference.folder / "index.html"),
        "n_missing": len(missing),
        "variants": pages.table(lines),
        "picture": pages.picture(pages.bars(shares), verdict.metric),
    }
    return shown | ({"missing": pages.table(missing)} if missing else {})

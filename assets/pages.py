"""What Dagster's pages show of a result: figures they plot, tables, small pictures."""

import base64
from collections.abc import Sequence
from statistics import mean
from typing import Any

import dagster as dg

from resources.run_record import figures_of
from tunewise.outcome import Missing, Row

WIDTH, HEIGHT, MARGIN = 320, 120, 6
"""Pixels of a picture; it is kept with the event, so it stays small."""


def table(records: Sequence[dict[str, Any]]) -> dg.TableMetadataValue:
    """Return records as a table; the first one's values give the columns and their types."""
    kinds = {bool: "bool", int: "int", float: "float"}
    columns = [dg.TableColumn(name, kinds.get(type(value), "string")) for name, value in (records[0] if records else {}).items()]
    rows = [dg.TableRecord({name: _cell(value) for name, value in record.items()}) for record in records]
    return dg.MetadataValue.table(rows, dg.TableSchema(columns=columns))


def picture(svg: str, title: str) -> dg.MarkdownMetadataValue:
    """Return a drawing that the page shows in place."""
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def rows_table(rows: Sequence[Row], missing: Sequence[Missing]) -> dg.TableMetadataValue:
    """Return one line per seed: what it reached and cost, or why there is nothing."""
    records: list[dict[str, Any]] = [
        {
            "seed": row.seed,
            "test_accuracy": figures["test_accuracy"],
            "test_macro_f1": figures["test_macro_f1"],
            "fit_seconds": figures["fit_seconds"],
            "latency_ms": figures["latency_ms"],
            "reused": row.is_reused,
            "note": "; ".join(row.outcome.marks),
        }
        for row in rows
        for figures in [figures_of(row)]
    ]
    none = dict.fromkeys(("test_accuracy", "test_macro_f1", "fit_seconds", "latency_ms"), float("nan"))
    records += [{"seed": one.seed, **none, "reused": False, "note": f"{one.reason}: {one.message}"} for one in missing]
    return table(records)


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Return the mean over seeds of every figure that all rows have; Dagster plots them over time."""
    figures = [figures_of(row) for row in rows]
    names = set.intersection(*map(set, figures)) if figures else set()
    return {name: mean(row[name] for row in figures) for name in sorted(names)}


def curves(rows: Sequence[Row]) -> str | None:
    """Return the training loss of each seed as a drawing, if the fit has a curve."""
    lines = [
        [(point["step"], point["loss"]) for point in row.outcome.curve if "loss" in point and "step" in point] for row in rows
    ]
    points = [point for line in lines for point in line]
    if len(points) < 2:
        return None
    paths = "".join(
        f'<polyline fill="none" stroke="#{_grey(i)}" points="{_scaled(line, points)}"/>' for i, line in enumerate(lines)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">{paths}</svg>'


def bars(shares: dict[str, float]) -> str:
    """Return one bar per name, its length the share between 0 and 1."""
    step, left = 18, WIDTH // 2
    drawn = [
        f'<text x="{left - MARGIN}" y="{i * step + 13}" text-anchor="end">{_escaped(name[:24])}</text>'
        f'<rect x="{left}" y="{i * step + 3}" width="{(WIDTH - left) * share:.1f}" height="{step - 5}" fill="#4a7ab5"/>'
        for i, (name, share) in enumerate(shares.items())
    ]
    height = step * len(shares) + MARGIN
    style = 'font-family="sans-serif" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {style}>{"".join(drawn)}</svg>'


def _scaled(line: Sequence[tuple[float, float]], points: Sequence[tuple[float, float]]) -> str:
    (left, right), (low, high) = (_ends(axis) for axis in zip(*points, strict=True))
    return " ".join(
        f"{MARGIN + (x - left) / (right - left) * (WIDTH - 2 * MARGIN):.1f},"
        f"{HEIGHT - MARGIN - (y - low) / (high - low) * (HEIGHT - 2 * MARGIN):.1f}"
        for x, y in line
    )


def _ends(axis: Sequence[float]) -> tuple[float, float]:
    low, high = min(axis), max(axis)
    return low, high if high > low else low + 1.0


def _grey(i: int) -> str:
    return ("222222", "777777", "aaaaaa")[i % 3]


def _cell(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")

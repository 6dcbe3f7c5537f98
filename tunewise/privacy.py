"""Keeps what runs here here: the usage reports of all libraries are off."""

from __future__ import annotations

import os

SILENCE = {
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers, datasets, peft and TRL report through the hub's library
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables by which the libraries are told to report nothing."""


def silence_reports() -> None:
    """Turn off every library's usage reports, for this process and those it starts.

    Call it first in an entry point: most libraries read these variables once, when they are imported.
    """
    os.environ.update(SILENCE)

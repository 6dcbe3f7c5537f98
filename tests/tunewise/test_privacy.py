"""Usage reports of the libraries are off."""

import os
import subprocess
import sys

CODE = """
from tunewise.privacy import silence_reports
silence_reports()
import huggingface_hub.constants
from mlflow.telemetry.utils import is_telemetry_disabled
print(huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY, is_telemetry_disabled())
"""


def test_the_libraries_take_the_hint():
    """In a process that starts with none of the variables, the hub's library and MLflow report nothing."""
    from tunewise.privacy import SILENCE

    environment = {name: value for name, value in os.environ.items() if name not in SILENCE and name != "PYTEST_CURRENT_TEST"}
    output = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True).stdout

    assert output.split() == ["True", "True"]

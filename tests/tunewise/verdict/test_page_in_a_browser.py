"""The page in headless Chromium: pictures drawn, no script of the data's run, no request, nothing wider than a phone."""

import shutil
import subprocess

import pytest

from tunewise.verdict import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; `apt-get install chromium` brings it"),
]


@pytest.fixture
def seen(tmp_path):
    """Return the function from a page to its document after its scripts ran, and what the browser logged."""

    def look(page, width=1280):
        folder = f"--user-data-dir={tmp_path / 'profile'}"
        size, wait = f"--window-size={width},9000", "--virtual-time-budget=6000"
        command = [CHROMIUM, *FLAGS, "--enable-logging=stderr", folder, size, wait, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return look


def test_pictures_are_drawn(judge, large_rows, seen, tmp_path):
    """All three pictures hold a drawing, the captions name variants, and the console stays empty."""
    document, console = seen(write_page(judge(large_rows), tmp_path / "comparison"))

    assert console == []
    assert document.count('class="main-svg"') >= 3
    assert "Best for its cost, cheapest first: tfidf_logistic" in document
    assert "Most frequent mistakes of" in document


def test_hostile_data_does_nothing(make, judge, seen, tmp_path):
    """Markup in classes, names and texts neither runs nor breaks a picture, and the policy had nothing to block."""
    script = "<script>document.title='run'</script>"
    classes = (script, "</script><img src=x onerror=\"document.title='run'\">", "<b>$x^2$</b> %{x}")
    rows = [*make("lora", classes=classes), *make(script, 0.6, classes=classes)]

    document, console = seen(write_page(judge(rows, texts={"row00000": script}, description=script), tmp_path / "comparison"))

    assert console == []
    assert "<title>reviews – tunewise</title>" in document
    assert document.count('class="main-svg"') >= 2

"""Progress in Dagster's log: a line now and then, with rate and remaining time."""

from resources.reporter import line_of


def test_a_line_tells_rate_and_remaining_time():
    """100 of 400 in 10 seconds are 10 a second, so 30 seconds are left."""
    assert line_of("embedding", 100, 400, 10.0) == "embedding: 100 of 400, 10/s, 30 s left"


def test_before_anything_is_done_there_is_no_rate():
    """No division by nothing, and no promise."""
    assert line_of("embedding", 0, 400, 0.0) == "embedding: 0 of 400, 0/s"

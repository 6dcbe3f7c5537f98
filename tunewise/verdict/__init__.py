"""What a comparison concludes: outcomes in; a sentence, a table, a page out."""

from tunewise.verdict.conclusion import Verdict, build_verdict
from tunewise.verdict.page import write_page

__all__ = ["Verdict", "build_verdict", "write_page"]

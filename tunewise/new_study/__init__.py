"""A first study file for a table: looked at, not asked about.

`looking` reads the table and counts, `choosing` decides what is what and says by which evidence, `writing` puts
it into a study file with comments. What cannot be decided is an error that names the candidates.
"""

from tunewise.new_study.choosing import Asked, choose
from tunewise.new_study.looking import look
from tunewise.new_study.writing import as_yaml, write_new

__all__ = ["Asked", "as_yaml", "choose", "look", "write_new"]

"""Every error tunewise raises on purpose.

A message says what was given, what is allowed, what follows and what to do.
"""


class TunewiseError(Exception):
    """The root of all errors a user can cause or mend; shown without a traceback."""


class StudyError(TunewiseError, ValueError):
    """The study file is wrong: a field, a name, or fields that contradict one another."""


class SettingsError(StudyError):
    """Settings of a method are outside their range or contradict one another."""


class SourceError(TunewiseError):
    """Bytes could not be had, or are not the bytes that were asked for."""


class DataError(TunewiseError):
    """A table cannot be read, or no honest result is possible with it."""


class BackboneError(TunewiseError):
    """A folder holds no usable model, or one that a method cannot use."""


class ArtifactError(TunewiseError):
    """A stored folder is missing, incomplete or altered."""


class FitError(TunewiseError):
    """A fit did not end in a usable predictor, for instance because its loss became NaN."""


class ComparisonError(TunewiseError):
    """Outcomes cannot be compared: other test rows, another task, or one fit given twice."""

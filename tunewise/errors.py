"""Every error tunewise raises on purpose.

A message says what was given, what is allowed, what follows and what to do, and never a login or a password.
"""

from tunewise.masking import masked


class TunewiseError(Exception):
    """The root of all errors a user can cause or mend; shown without a traceback."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))


class StudyError(TunewiseError, ValueError):
    """The study file is wrong: a field, a name, or fields that contradict one another."""


class SettingsError(StudyError):
    """Settings of a method are outside their range or contradict one another."""


class SourceError(TunewiseError):
    """Bytes could not be had, or are not the bytes that were asked for."""


class UnreachableError(SourceError):
    """Bytes could not be had now and may be had later: the network, or a server that answers with its own fault."""


class DataError(TunewiseError):
    """A table cannot be read, or no honest result is possible with it."""


class BackboneError(TunewiseError):
    """A folder holds no usable model, or one that a method cannot use."""


class ArtifactError(TunewiseError):
    """A stored folder is missing, incomplete or altered."""


class BusyError(TunewiseError):
    """Another process is doing this work now."""


class FitError(TunewiseError):
    """A fit did not end in a usable predictor, for instance because its loss became NaN."""


class ComparisonError(TunewiseError):
    """Outcomes cannot be compared: other test rows, another task, or one fit given twice."""


def words_of(error: BaseException) -> str:
    """Return an error as it is shown and kept: ours as they are, others with their kind, and none with a password."""
    return str(error) if isinstance(error, TunewiseError) else masked(f"{type(error).__name__}: {error}")

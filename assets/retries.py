"""Which failures are tried again: what may pass is, after a pause that grows; what will not mend itself is not."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from tunewise.errors import UnreachableError, words_of

N_RETRIES = 2
SECONDS = 4.0
RETRIES = dg.RetryPolicy(N_RETRIES, delay=SECONDS, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Pauses of about 4 and 12 seconds: long enough for a server that restarts, short enough to be waited for at a command line."""

PASSING = (UnreachableError, ConnectionError, TimeoutError)

log = logging.getLogger("tunewise.retries")


class InterruptedStepError(dg.DagsterExecutionInterruptedError, dg.DagsterError):
    """Ends a step and its run as an interruption does.

    A plain one Dagster would take to the step's retry policy and start the step again; its own errors it lets through.
    """


@contextmanager
def only_what_may_pass(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Let errors that may pass be tried again, and turn all others into failures that are not.

    A step whose process died is tried again, too: its finished fits are reused, and memory may be free by then.

    Raises:
        dagster.Failure: Instead of an error that a retry would only repeat.
        InterruptedStepError: Instead of an interruption.
    """
    try:
        yield
    except PASSING as error:
        if context.retry_number < N_RETRIES:
            log.warning("%s: %s Trying again in some seconds.", context.asset_key.to_user_string(), error)
        raise
    except dg.Failure:
        raise
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interruption:
        raise InterruptedStepError("The step was interrupted.") from interruption
    except Exception as error:
        said = words_of(error)
        raise dg.Failure(said, allow_retries=False) from error

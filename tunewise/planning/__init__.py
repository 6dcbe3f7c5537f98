"""What a study will run, what it will reuse and why not the rest, and what that costs: said before anything is fitted.

`plan` makes it, of `reasons` (what differs from the nearest stored outcome) and `costs`, which come from `past`
outcomes, or else from a `calibration`, a few steps of the real thing; `kept` stores an estimate with its run and
sets it beside the fact.
"""

from tunewise.planning.contents import Plan
from tunewise.planning.plan import plan_study

__all__ = ["Plan", "plan_study"]

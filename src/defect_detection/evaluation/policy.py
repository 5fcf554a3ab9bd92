"""The policy and the outcomes of the gate."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from .rates import Frozen

GUARDS = ("escapes", "slices", "parity", "servable", "challenge")  # the default guards


class Outcome(StrEnum):
    PROMOTE = "promote"
    HOLD = "hold"
    INSUFFICIENT = "insufficient evidence"
    PASSED = "passed"  # the gate said PROMOTE, and a person decides when

    @property
    def exit_code(self) -> int:
        """Return the exit code of a command: 0 only if production has changed."""
        return {Outcome.PROMOTE: 0, Outcome.INSUFFICIENT: 2}.get(self, 1)

    @classmethod
    def of(cls, outcomes: "Sequence[Outcome]") -> "Outcome":
        """Combine the outcomes of several rules: HOLD if any holds, else INSUFFICIENT if any lacks evidence."""
        return next((one for one in (cls.HOLD, cls.INSUFFICIENT) if one in outcomes), cls.PROMOTE)


class Improvement(Frozen):
    """What better than the champion means: `metric` must be higher by more than `more_than`, a fraction."""

    metric: Literal["accuracy", "balanced_accuracy", "auroc"] = "accuracy"
    more_than: float = 0.0


class GatePolicy(Frozen):
    """What a candidate must show.

    accuracy_threshold: least accuracy for production, in [0, 1].
    max_overkill_rate: limit of overkill if no test image is defective, in (0, 1).
    guards: names of the further checks: `GUARDS`, and "gain" (the higher accuracy is significant).
    margin: increase of the escape rate that must be ruled out, in (0, 1).
    level: highest probability of promoting a candidate that is worse by `margin`, in (0, 1).
    """

    accuracy_threshold: float = 0.0
    max_overkill_rate: float = 0.01
    improvement: Improvement = Improvement()
    guards: tuple[str, ...] = GUARDS
    margin: float = 0.05
    level: float = 0.05


class Check(Frozen):
    """What was found out about a model besides its figures. passed: None when there was nothing to look at."""

    name: str
    passed: bool | None
    text: str


class Rule(Frozen):
    """One question of the gate, what it came to, and why. helps: what would change that; "" where nothing has to."""

    name: str
    outcome: Outcome
    reason: str
    helps: str = ""

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
        """Return that of a command: 0 only where production has changed."""
        return {Outcome.PROMOTE: 0, Outcome.INSUFFICIENT: 2}.get(self, 1)

    @classmethod
    def of(cls, outcomes: "Sequence[Outcome]") -> "Outcome":
        """Return what several rules come to: one HOLD holds, then one INSUFFICIENT is not enough."""
        return next((one for one in (cls.HOLD, cls.INSUFFICIENT) if one in outcomes), cls.PROMOTE)


class Improvement(Frozen):
    """What better than the champion means: `metric` must be higher by more than `more_than`, a fraction."""

    metric: Literal["accuracy", "balanced_accuracy", "auroc"] = "accuracy"
    more_than: float = 0.0


class GatePolicy(Frozen):
    """What a candidate must show.

    accuracy_threshold: least accuracy for production, in [0, 1].
    max_overkill_rate: what overkill must not surely be above where no test image is defective, in (0, 1).
    guards: names of what is asked on top of threshold and improvement; `GUARDS`, and "gain" (that the higher accuracy isn't chance).
    margin: how much higher the candidate's escape rate must surely not be, in (0, 1).
    level: the chance, in (0, 1), with which a candidate that is worse by `margin` may be promoted all the same.
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

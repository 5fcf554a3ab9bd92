"""Sample the values of a trial from the search space."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from defect_detection.config.training import HyperparameterSet

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Proposal


def suggest(proposal: "Proposal", name: str, values: Any) -> Any:
    """Let the study choose a value of one hyperparameter, from a list or between `low` and `high`."""
    if isinstance(values, list):
        return json.loads(proposal.suggest_categorical(name, [json.dumps(value) for value in values]))
    low, high = values["low"], values["high"]
    log = low > 0 and high >= 10 * low
    if _is_whole(name):
        return proposal.suggest_int(name, low, high, log=log)
    return proposal.suggest_float(name, low, high, log=log)


def _is_whole(name: str) -> bool:
    annotation = HyperparameterSet.model_fields[name].annotation
    return float not in (annotation, *get_args(annotation))


def values_of(trial: "FrozenTrial") -> dict[str, Any]:
    """Return what a trial tried, as `suggest` gave it."""
    return {
        name: json.loads(value) if isinstance(value, str) else value for name, value in trial.params.items()
    }


def own_values(base: HyperparameterSet, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the set's own values of the searched keys, if they are inside the space."""
    own = base.model_dump(mode="json")
    inside = {}
    for name, values in space.items():
        if isinstance(values, list) and own[name] in values:
            inside[name] = json.dumps(own[name])
        elif (
            isinstance(values, dict)
            and own[name] is not None
            and values["low"] <= own[name] <= values["high"]
        ):
            inside[name] = own[name]
    return inside

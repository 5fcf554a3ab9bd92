"""Stand in for fine-tuning where its bookkeeping is looked at: what it does to a trunk, without learning anything."""

from typing import Any

from defect_detection.model.trunks import Trunk, fingerprint


class Tuning:
    """Change the trunk that is given, as `fine_tune` does, which has its own tests.

    Attributes:
        started_from: the fingerprint of each trunk that was given.
    """

    def __init__(self) -> None:
        self.started_from: list[str] = []

    def __call__(self, trunk: Trunk, *arguments: Any) -> Trunk:
        *_, on_epoch, _seen = arguments
        self.started_from.append(fingerprint(trunk.model))
        for weights in trunk.model.trainable_weights:
            weights.assign(1.01 * weights)
        on_epoch(0, {"loss": 1.0, "val_loss": 1.0})
        return Trunk(
            trunk.model, trunk.levels, trunk.name, f"fine-tuned {trunk.weights}", fingerprint(trunk.model)
        )

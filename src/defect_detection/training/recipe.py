"""The recipes of pre-training: everything that the weights depend on."""

import hashlib
from dataclasses import asdict, dataclass

from defect_detection.model.named_weights import LITE0
from defect_detection.model.trunks import COMPACT_CHANNELS
from defect_detection.synthetic.bank import GENERATION
from defect_detection.training.distillation import LESSONS

TASKS = {"cells": 1.0, "defects": 0.3, "background": 0.1, "scene": 0.1}  # and their weights
_WARMUP_STEPS = 300


@dataclass(frozen=True)
class Recipe:
    """What pre-training depends on. A step sees two views, `crop_px` square, of each of `scenes_per_step` scenes of `size_px`.

    precision: Keras' dtype policy; mixed_bfloat16 is up to twice as fast where the processor has it, and 7 times slower elsewhere.
    decay: share of the steps at the end in which the learning rate falls.
    start: name of the weights to start from; None: at random.
    teacher: the trunk whose maps are the only tasks. Images are then whole scenes, and every epoch has new scenes.
    """

    bank_images: int = 40_960
    size_px: int = 128
    crop_px: int = 96
    steps: int = 7_500
    steps_per_epoch: int = 250
    scenes_per_step: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    positive_weight: float = 4.0
    decay: float = 0.3
    start: str | None = None
    teacher: str | None = None
    precision: str = "float32"
    seed: int = 42

    def rate(self, step: int) -> float:
        """Return the learning rate: it rises, stays, and falls in a straight line at the end.

        While it stays it doesn't depend on `steps`: a run may be made longer or shorter before it falls.
        """
        left = (self.steps - step) / max(self.steps * self.decay, 1)
        return self.learning_rate * max(min((step + 1) / min(_WARMUP_STEPS, self.steps), left, 1.0), 0.002)

    @property
    def digest(self) -> str:
        """Covers everything except the steps: a training with another recipe, scenes or width cannot be continued."""
        settings = asdict(self) | {
            "steps": None,
            "generation": GENERATION,
            "tasks": LESSONS if self.teacher else TASKS,
            "channels": COMPACT_CHANNELS,
        }
        return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


PROCEDURAL = Recipe()
DISTILLED = Recipe(
    bank_images=4_096,
    crop_px=128,
    steps=3_500,
    learning_rate=1.5e-3,
    decay=0.4,
    start="procedural",
    teacher=LITE0,
)

"""Follow the epochs of a fit: pass on their metrics, and keep them."""

from collections.abc import Mapping

from defect_detection.processes.watch import Follow
from defect_detection.training.fit import OnEpoch


def recorder(phase: str, epochs: int, follow: Follow, history: dict[str, list[float]]) -> OnEpoch:
    """Return what passes on the metrics of each epoch of a phase, and adds them to `history`."""
    prefix = "" if phase == "head" else "fine_tune_"

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        named = {f"{prefix}{name}": value for name, value in metrics.items()}
        for name, value in named.items():
            history.setdefault(name, []).append(value)
        follow(phase, epoch + 1, epochs, named)

    return on_epoch


def tell_early_end(phase: str, epochs: int, follow: Follow, history: Mapping[str, list[float]]) -> None:
    """Report a phase that stopped early as finished."""
    done = max(map(len, history.values()))
    if done < epochs:
        follow(phase, done, done)

"""The features of the frozen trunk that branches learn from, from the cache."""

from functools import partial

from defect_detection.config import Config
from defect_detection.data.split import Splits
from defect_detection.model.graph import build_features
from defect_detection.model.trunks import Trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.features import Rows, activations
from defect_detection.training.flips import symmetries


def trunk_features(
    trunk: Trunk, keys: list[str], names: list[str], splits: Splits, config: Config, follow: Follow
) -> dict[str, Rows]:
    return activations(
        build_features(trunk, splits.framing.seen),
        keys,
        splits.pixels,
        config.cache_dir,
        partial(follow, "features"),
        only=names,
    )


def turned_features(
    trunk: Trunk, turns: int, keys: list[str], splits: Splits, config: Config, follow: Follow
) -> list[Rows]:
    """Return the pooled features of the images in each flip and rotation, without the identity."""
    framing, columns = splits.framing, []
    model, shown = build_features(trunk, framing.seen), symmetries(framing.size, framing.seen)[1:turns]
    total = len(shown) * len(keys)
    for number, turn in enumerate(shown):

        def on_progress(done: int, _: int, before: int = number * len(keys)) -> None:
            follow("variants", before + done, total)

        rows = activations(
            model, keys, splits.pixels, config.cache_dir, on_progress, only=["pooled"], turn=turn
        )
        columns.append(rows["pooled"])
    return columns

"""Say that no model is in production, and how to get one."""

from typing import TYPE_CHECKING

from defect_detection.errors import NoModelError

if TYPE_CHECKING:
    from defect_detection.config import Config


def no_model(config: "Config", instead: str = "", wanted: str = "") -> NoModelError:
    """Return the error.

    Args:
        instead: what else the caller may do, as in "use a model folder".
        wanted: name and alias, as in "Production_Reg@prod"; those of inference when not given.
    """
    wanted = wanted or f"{config.inference_model_name}@{config.inference_model_alias}"
    commands = f"run `defect train{config.option}` and `defect evaluate{config.option}`"
    return NoModelError(
        f"No model is in production as {wanted}: {commands}{f', or {instead}' if instead else ''}"
    )

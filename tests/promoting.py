"""Run in a process of its own: a promotion that waits for another one, or that is killed halfway.

meet: evaluate; go on from the decision when so many processes have decided
kill: evaluate; die when the alias is to move
kill-late: evaluate; die when the alias has moved
"""

import os
import signal
import time
from pathlib import Path

from waiting import LIMIT_S

from defect_detection.config import load_config
from defect_detection.errors import StaleDecisionError
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases import evaluate
from defect_detection.use_cases.turn import PRODUCTION_ALIAS


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(folder: Path, name: str, others: int) -> None:
    (folder / name).touch()
    end = time.monotonic() + LIMIT_S
    while len(list(folder.iterdir())) < others and time.monotonic() < end:
        time.sleep(0.01)


def run(root: Path, name: str, what: str, others: int = 0) -> int:
    set_alias, record = Registry.set_alias, evaluate.record

    def dying(self: Registry, model: str, alias: str, version: int) -> None:
        if alias == PRODUCTION_ALIAS and what == "kill":
            die()
        set_alias(self, model, alias, version)
        if alias == PRODUCTION_ALIAS and what == "kill-late":
            die()

    def meeting(*arguments: object) -> object:
        meet(root.parent / "meeting", name, others)
        return record(*arguments)  # type: ignore[arg-type]

    Registry.set_alias = dying  # type: ignore[method-assign]
    if what == "meet":
        evaluate.record = meeting  # type: ignore[assignment]
    try:
        print(evaluate.evaluate(load_config(root / "config.yaml")).registered)
    except StaleDecisionError as error:
        print(error)
        return 3
    return 0

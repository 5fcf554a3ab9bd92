"""Compare the types of defects that a model names with those of the test images."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.evaluation.rates import Frozen, Rate


class TypeRow(Frozen):
    """The answers for the caught images of one type: the strongest of each, by how often. right: those of this type."""

    name: str
    right: Rate
    answers: dict[str, int]


class TypeAnswers(Frozen):
    """How a model names the types of caught images whose type is known.

    right: images whose strongest answer is one of their types, of all; of_answered: of those with another answer than unknown.
    rows: by type; an image with several types stands in each. not_learned: caught images of types that the model cannot name.
    """

    right: Rate
    of_answered: Rate
    rows: tuple[TypeRow, ...]
    not_learned: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The answers that were given: the types first, then other and unknown."""
        own = [row.name for row in self.rows]
        return (*own, *sorted({name for row in self.rows for name in row.answers} - set(own)))


def learned_types(types: Sequence[str], names: Sequence[str], other: str) -> set[str]:
    """Return the types of one image as a model that names `names` should answer; empty where it cannot.

    Args:
        other: the name for types that it learned together.
    """
    known = {name for name in types if name in names}
    return known or ({other} if other in names and types else set())


def type_answers(
    answers: Sequence[str],
    truth: Sequence[set[str]],
    unknown: str,
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
) -> TypeAnswers | None:
    """Return how well the types of caught images are named; None without an image of a learned type.

    Args:
        answers: the strongest type of each image. truth: its types as `learned_types` returns them.
        unknown: the answer that names no type. parts: name of the part of each, "" = its own part.
    """
    chosen = np.array([bool(one) for one in truth], bool)
    if not chosen.any():
        return None
    part = numbered(parts, len(truth))
    right = np.array([answer in true for answer, true in zip(answers, truth, strict=True)], bool)
    told = chosen & np.array([answer != unknown for answer in answers], bool)
    rows = []
    for name in sorted(set().union(*truth)):
        own = np.array([name in true for true in truth], bool)
        counts = Counter(answer for answer, mine in zip(answers, own, strict=True) if mine)
        is_it = np.array([answer == name for answer in answers], bool)
        rows.append(
            TypeRow(name=name, right=rate_of(is_it[own], part[own], confidence), answers=dict(counts))
        )
    return TypeAnswers(
        right=rate_of(right[chosen], part[chosen], confidence),
        of_answered=rate_of(right[told], part[told], confidence),
        rows=tuple(rows),
        not_learned=int((~chosen).sum()),
    )

"""Turn a mask into outlines along the edges of its pixels, from which `Polygon.draw` makes the same mask again."""

from collections import defaultdict

import numpy as np

from defect_detection.formats.areas import Ring

_Corner = tuple[int, int]
_STEPS = {
    (0, -1): (1, 0),
    (1, 0): (0, 1),
    (0, 1): (-1, 0),
    (-1, 0): (0, -1),
}  # to the right, as it is seen in the image


def outlines(marked: np.ndarray) -> list[Ring]:
    """Return one outline for each connected area of a mask; pixels that touch at a corner are connected.

    A hole is part of the outline: the outline goes there and back on the same line, which encloses nothing.

    Args:
        marked: bool (height, width).
    """
    from scipy import ndimage  # takes long to import

    areas, count = ndimage.label(marked, structure=np.ones((3, 3)))
    return [
        _outline(areas[place] == number, (place[1].start, place[0].start))
        for number, place in zip(range(1, count + 1), ndimage.find_objects(areas), strict=True)
    ]


def _outline(area: np.ndarray, offset: tuple[int, int]) -> Ring:
    rings = sorted((_ring(edges) for edges in _walks(area)), key=_enclosed, reverse=True)
    outer = rings[0]
    joined = [outer]
    for hole in rings[1:]:
        joined += [outer[:1], hole, hole[:1]]
    return np.concatenate([*joined, *([outer[:1]] if rings[1:] else [])]) + np.array(offset, float)


def _walks(area: np.ndarray) -> list[list[_Corner]]:
    """Return the corners of each closed walk along the edge, with the area on its right."""
    leaving = _edges(area)
    walks = []
    while leaving:
        start = next(iter(leaving))
        walk, step = [start], leaving[start].pop()
        here = (start[0] + step[0], start[1] + step[1])
        while here != start or _goes_on(leaving, here, step):
            walk.append(here)
            step = _next_step(leaving, here, step)
            here = (here[0] + step[0], here[1] + step[1])
        walks.append(walk)
        for corner in [corner for corner, steps in leaving.items() if not steps]:
            del leaving[corner]
    return walks


def _goes_on(leaving: dict[_Corner, list[_Corner]], here: _Corner, step: _Corner) -> bool:
    """Check whether a walk that is back at its start still has the other pixel at that corner to go round."""
    x, y = step
    left = (y, -x)
    return left in leaving.get(here, [])


def _next_step(leaving: dict[_Corner, list[_Corner]], here: _Corner, step: _Corner) -> _Corner:
    """Turn left where two pixels touch at a corner, so that they stay in one outline."""
    steps = leaving[here]
    x, y = step
    chosen = (y, -x) if (y, -x) in steps else steps[0]
    steps.remove(chosen)
    return chosen


def _edges(area: np.ndarray) -> dict[_Corner, list[_Corner]]:
    """Return the steps along the edge that leave each corner."""
    leaving: dict[_Corner, list[_Corner]] = defaultdict(list)
    padded = np.pad(area, 1)
    for (side_x, side_y), step in _STEPS.items():
        beside = np.roll(padded, (-side_y, -side_x), (0, 1))
        for row, column in np.argwhere(padded & ~beside)[:, :2].tolist():
            x, y = column - 1, row - 1
            corner = {(0, -1): (x, y), (1, 0): (x + 1, y), (0, 1): (x + 1, y + 1), (-1, 0): (x, y + 1)}
            leaving[corner[side_x, side_y]].append(step)
    return leaving


def _ring(walk: list[_Corner]) -> Ring:
    """Leave out the corners on straight lines."""
    corners = np.array(walk, float)
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    return corners[(before != after).any(axis=1)]


def _enclosed(ring: Ring) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))

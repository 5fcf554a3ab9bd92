"""Simulate shifts of a line: how often Monitor alarms for nothing, and after how many inspections it notices a change.

Figures come from a trained model on real OK test images, as they are and changed with Pillow. Shifts are drawn from these: parts come
in lots that are alike, with a light of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from benchmarks import datasets
from benchmarks.datasets import OK_CLASSES, DataSet
from benchmarks.options import Options
from benchmarks.processes import Unavailable
from benchmarks.project import Project
from benchmarks.tables import table
from defect_detection.data.images import read_image
from defect_detection.data.samples import OK, scan
from defect_detection.evaluation.drift import CAMERA, FIGURES, Baseline, compare, level_of, persistence_of
from defect_detection.inference.inspect import Inspector

HOURS, PER_HOUR, WINDOW = 8, 600, 500  # of a shift; inspections; compared at a time
LOT = 400  # parts that are alike
OF_A_LOT = 1 / 3  # of all parts, those that a lot draws from
LIGHTS = (0.97, 0.985, 1.0, 1.015, 1.03)  # of the usual brightness; each lot has one
QUIET_SHIFTS, CHANGES, LONGEST = 1000, 100, 48  # LONGEST: hours until a change counts as not noticed
PERSISTENCES = (1, 2, 3)
STATIONS = (4, 20)  # that are compared on their own
DEFECT_RATE = 0.01
MOST_IMAGES = 200

Windows = Iterator[dict[str, np.ndarray]]  # of each hour, figures of its last inspections
Differing = frozenset[tuple[str, int]]  # the figures that differ, each with its direction
Compared = Callable[[dict[str, np.ndarray]], Differing]


def measure(options: Options) -> dict[str, Any]:
    """Return the rows of the table."""
    data, work = options.data_set(), options.work / "monitoring"
    inspector = Inspector.load(options.model or _trained(data, work, options))
    if inspector.card.baseline is None:
        raise Unavailable(f"{data.name}: too few OK training images for a baseline")
    line, rng = Line.of(inspector, data), np.random.default_rng(options.seeds)
    compared = partial(_compared, inspector.card.baseline)
    shifts = range(QUIET_SHIFTS)
    apart = (line.windows(line.apart(HOURS, rng)) for _ in shifts)
    return {
        "data": data.name,
        "images": line.n_parts,
        "parts": inspector.card.baseline.parts,
        "apart": _false_alarms(compared, apart),
        "lots": _false_alarms(compared, (line.windows(line.drawn(HOURS, rng)) for _ in shifts)),
        "stations": {
            count: _false_alarms_of_stations(line, inspector.card.baseline, count, rng) for count in STATIONS
        },
        "odd lot": _false_alarms(compared, (_odd_lot(line, rng) for _ in range(CHANGES))),
        "changes": {name: _noticed(line, name, compared, rng) for name in CHANGED},
    }


def _trained(data: DataSet, work: Path, options: Options) -> Path:
    project = Project.new(datasets.empty(work), data, options.overrides)
    project.train()
    return project.bundle


def dimmed(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def defocused(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1))


def textured(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add a grain of about 3 px, with a standard deviation of about 6 gray levels and a mean of 0."""
    noise = Image.fromarray(rng.normal(128, 25, image.size[::-1]).clip(0, 255).astype(np.uint8))
    grain = noise.filter(ImageFilter.GaussianBlur(1.2)).convert("RGB")
    return ImageChops.add(image, grain, offset=-128)


CHANGED = {
    "10 % darker": lambda image, _rng: dimmed(image, 0.9),
    "20 % darker": lambda image, _rng: dimmed(image, 0.8),
    "defocus (Gaussian blur, 1 px)": lambda image, _rng: defocused(image),
    "new texture (grain of 3 px)": textured,
}


@dataclass(frozen=True)
class Line:
    """Figures of the same parts, as usual and changed: by name and figure, float (n_lights, n_parts)."""

    figures: dict[str, dict[str, np.ndarray]]

    @classmethod
    def of(cls, inspector: Inspector, data: DataSet) -> "Line":
        framing, rng = inspector.card.frame, np.random.default_rng(0)
        samples = [one for one in scan(data.test, OK_CLASSES)[0] if one.label == OK][:MOST_IMAGES]
        images = [Image.fromarray(read_image(one.path, framing)) for one in samples]
        lights = [[dimmed(image, light) for image in images] for light in LIGHTS]
        figures = {"usual": [_figures(inspector, images) for images in lights]}
        for name, change in CHANGED.items():
            figures[name] = [_figures(inspector, [change(one, rng) for one in some]) for some in lights]
        return cls(
            {
                name: {one: np.stack([light[one] for light in some]) for one in FIGURES}
                for name, some in figures.items()
            }
        )

    @property
    def n_parts(self) -> int:
        return int(self.figures["usual"]["score"].shape[1])

    def drawn(self, hours: int, rng: np.random.Generator) -> np.ndarray:
        """Draw inspections, (2, n): the light and the part of each. A lot has one light, and parts from a third of all."""
        lots = -(-hours * PER_HOUR // LOT)
        some = max(round(self.n_parts * OF_A_LOT), 1)
        parts = [rng.choice(rng.permutation(self.n_parts)[:some], LOT) for _ in range(lots)]
        lights = np.repeat(rng.integers(len(LIGHTS), size=lots), LOT)
        return np.stack([lights, np.concatenate(parts)])[:, : hours * PER_HOUR]

    def apart(self, hours: int, rng: np.random.Generator) -> np.ndarray:
        """Draw independent inspections in the usual light, as the test expects them."""
        parts = rng.integers(self.n_parts, size=hours * PER_HOUR)
        return np.stack([np.full_like(parts, LIGHTS.index(1.0)), parts])

    def windows(
        self, drawn: np.ndarray, changed: str = "usual", since: int = 0, until: int | None = None
    ) -> Windows:
        """Yield the figures of the last inspections of each hour; those from `since` until before `until` are changed."""
        until = drawn.shape[1] if until is None else until
        for end in range(PER_HOUR, drawn.shape[1] + 1, PER_HOUR):
            places = np.arange(end - WINDOW, end)
            is_changed = (places >= since) & (places < until)
            lights, parts = drawn[:, places]
            yield {
                one: np.where(
                    is_changed,
                    self.figures[changed][one][lights, parts],
                    self.figures["usual"][one][lights, parts],
                )
                for one in FIGURES
            }


def _figures(inspector: Inspector, images: Sequence[Image.Image]) -> dict[str, np.ndarray]:
    found = list(inspector.inspect(np.asarray(image) for image in images))
    rows = [
        {"score": one.score, "novelty": one.novelty} | one.camera._asdict() for one in found if one.camera
    ]
    return {figure: np.array([row[figure] for row in rows], float) for figure in FIGURES}


def _compared(baseline: Baseline, window: dict[str, np.ndarray], n_stations: int = 0) -> Differing:
    level = level_of(1, 1, len(baseline.quantiles) * (1 + n_stations))
    found = compare([window], baseline, level=level, persistence=1, defect_rate=DEFECT_RATE)
    return frozenset((one.name, one.difference.sign) for one in found if one.alarm)


def _first_alarm(hours: Sequence[Differing], persistence: int) -> int | None:
    """Return the first hour with an alarm."""
    ends = range(persistence, len(hours) + 1)
    return next((end - 1 for end in ends if frozenset.intersection(*hours[end - persistence : end])), None)


def _false_alarms(compared: Compared, shifts: Iterator[Windows]) -> dict[int, int]:
    """Count the shifts with an alarm."""
    hours = [list(map(compared, shift)) for shift in shifts]
    return {count: sum(_first_alarm(shift, count) is not None for shift in hours) for count in PERSISTENCES}


def _false_alarms_of_stations(
    line: Line, baseline: Baseline, count: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the shifts with an alarm of any station, of as many, from those of one station: stations have lots of their own."""
    compared, windows = (
        partial(_compared, baseline, n_stations=count),
        persistence_of(PERSISTENCES[-1], count),
    )
    drawn = {"apart": line.apart, "lots": line.drawn}
    shares = {
        name: mean(
            _first_alarm(list(map(compared, line.windows(draw(HOURS, rng)))), windows) is not None
            for _ in range(QUIET_SHIFTS)
        )
        for name, draw in drawn.items()
    }
    return {"windows": windows} | {
        name: QUIET_SHIFTS * (1 - (1 - one) ** count) for name, one in shares.items()
    }


def _odd_lot(line: Line, rng: np.random.Generator) -> Windows:
    """Draw a shift in which as many inspections as a lot has, at a random place, are 20 % darker."""
    since = int(rng.integers(HOURS * PER_HOUR - LOT))
    return line.windows(line.drawn(HOURS, rng), "20 % darker", since, since + LOT)


def _noticed(line: Line, name: str, compared: Compared, rng: np.random.Generator) -> dict[str, Any]:
    """Return the delays of a change at a random moment of an hour, in inspections, and which cause an alarm named."""
    delays: dict[int, list[int | None]] = {count: [] for count in PERSISTENCES}
    causes = {"camera": 0, "parts": 0}
    for _ in range(CHANGES):
        late = int(rng.integers(PER_HOUR))  # inspections of the first hour that come before the change
        hours = []
        for window in line.windows(line.drawn(LONGEST, rng), name, late):
            hours.append(compared(window))
            if _first_alarm(hours, PERSISTENCES[-1]) is not None:
                moved = frozenset.intersection(*hours[-PERSISTENCES[-1] :])
                causes["camera" if any(figure in CAMERA for figure, _ in moved) else "parts"] += 1
                break
        for count in PERSISTENCES:
            hour = _first_alarm(hours, count)
            delays[count].append(None if hour is None else (hour + 1) * PER_HOUR - late)
    return {"delays": delays, "named": causes}


def render(result: dict[str, Any]) -> str:
    """Return the tables."""
    of = f"{result['images']} OK test images, a baseline of {result['parts']} OK training parts"
    shift = f"A shift has {HOURS} hours of {PER_HOUR} inspections; {WINDOW} of each hour are compared."
    lot = f"A lot has {LOT} parts, drawn from a third of the images, in a light within 3 % of the usual one."
    about = f"Data set: {result['data']}; {of}. {shift} {lot}"
    columns = ("windows in a row", *map(str, PERSISTENCES))
    quiet = f"false alarms in {QUIET_SHIFTS:,} quiet shifts"
    rows = [
        [f"{quiet}, independent images", *_counts(result["apart"])],
        [f"{quiet}, lots", *_counts(result["lots"])],
        [f"alarms in {CHANGES} shifts with one lot 20 % darker", *_counts(result["odd lot"])],
    ]
    for name, found in result["changes"].items():
        rows.append(
            [f"{name}: noticed after", *(_delay(found["delays"][str(count)]) for count in PERSISTENCES)]
        )
    named = [
        f"{name}: camera {found['named']['camera']}, parts {found['named']['parts']}"
        for name, found in result["changes"].items()
    ]
    note = (
        "Delays are inspections: median (95 % within). The cause that an alarm of three windows named: "
        + "; ".join(named)
    )
    of_stations = [
        [count, str(found["windows"]), f"{found['apart']:.0f}", f"{found['lots']:.0f}"]
        for count, found in result["stations"].items()
    ]
    stations = table(
        ["stations", "windows in a row", f"{quiet}, independent images", f"{quiet}, lots"], of_stations
    )
    return f"{about}\n\n{table(columns, rows)}\n\n{note}.\n\n{stations}"


def _counts(by_persistence: dict[str, int]) -> list[str]:
    return [str(by_persistence[str(count)]) for count in PERSISTENCES]


def _delay(delays: Sequence[int | None]) -> str:
    known = sorted(delay for delay in delays if delay is not None)
    if not known:
        return "never"
    missed = f", {len(delays) - len(known)} of {len(delays)} never" if len(known) < len(delays) else ""
    return f"{median(known):,.0f} ({known[int(0.95 * (len(known) - 1))]:,}){missed}"

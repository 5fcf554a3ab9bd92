"""The held-out images of each fold, so every image is scored by a model that was not trained on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Folds:
    """The fits of one trial: one for each fold, with its images held out, and the final fit.

    fold: int array of shape (n_images,): the fold that an image is held out in, from 0; -1: in none.
    refit: the final fit is trained on all images (cross-validation); otherwise it is the fit of the only fold.
    """

    fold: np.ndarray
    refit: bool

    @cached_property
    def count(self) -> int:
        return int(self.fold.max()) + 1

    @cached_property
    def scored(self) -> np.ndarray:
        """Return the indices of the images that some fit holds out."""
        return np.flatnonzero(self.fold >= 0)

    @cached_property
    def kept(self) -> np.ndarray:
        """Return the indices of the training images of the final fit."""
        return np.arange(len(self.fold)) if self.refit else np.flatnonzero(self.fold < 0)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the training and the held-out indices of each fold."""
        for number in range(self.count):
            yield np.flatnonzero(self.fold != number), np.flatnonzero(self.fold == number)

    @cached_property
    def learns(self) -> np.ndarray:
        """Return the training mask of the fits: float32 (n_images, n_fits), 1 or 0; the final fit is last."""
        columns = [self.fold != number for number in range(self.count)]
        columns += [np.ones_like(columns[0])] if self.refit else []
        return np.stack(columns, axis=-1).astype(np.float32)

    def held_out(self, values: np.ndarray) -> np.ndarray:
        """Return of each image the value of the fit that held it out, (n_images,); NaN where none did.

        Args:
            values: float array of shape (n_images, n_fits), in the order of `learns`.
        """
        chosen = np.take_along_axis(values, np.maximum(self.fold, 0)[:, None], 1)[:, 0].astype(np.float64)
        return np.where(self.fold >= 0, chosen, np.nan)

    def without(self, learned: np.ndarray) -> "Folds":
        """Return the folds without images that the trunk was trained on: every fit is trained on them, none holds them out.

        Args:
            learned: bool array of shape (n_images,).
        """
        fold, held = self.fold.copy(), (self.fold >= 0) & ~learned
        fold[~held] = -1
        fold[held] = np.unique(fold[held], return_inverse=True)[1]
        return Folds(fold, self.refit)

    def only(self, number: int) -> "Folds":
        """Return these folds with only one of them: where a trunk was trained on the images of the others."""
        return Folds(np.where(self.fold == number, 0, -1), self.refit)


@dataclass(frozen=True)
class LeftOut(Folds):
    """Fits that each leave some images out, and judge those of them that lie in their fold.

    out: bool array of shape (n_images, n_fits): an image may be left out of several fits.
    """

    out: np.ndarray

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(self.count):
            yield np.flatnonzero(~self.out[:, number]), np.flatnonzero(self.fold == number)

    @cached_property
    def learns(self) -> np.ndarray:
        return (~self.out).astype(np.float32)

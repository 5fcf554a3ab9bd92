"""Learning to learn: judge some images of a drawn product by others of it, as a user's images will be judged.

Ridge regression is solved in closed form, so the trunk learns through the solution: its features must make a product's defects easy to
learn from few images (Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers").
"""

import keras
import numpy as np
from keras import ops

_CLIP = 6.0  # standard deviations, as in `model.heads`
_FLOOR = 0.02  # added to each standard deviation
_CONSTANT = 0.1  # squared: the feature that stands for the bias
_CELLS = 16  # of an image that take part: all defective ones that fit, then chance
_FASTER = 10.0  # these layers' own numbers learn so much faster than the trunk


class _Scaled(keras.layers.Layer):
    """Holds three numbers that are learned along: how stiff the regression is, and how its answer becomes a logit."""

    def __init__(self, scale: float, offset: float, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.start = np.array([scale, 0.0, offset], np.float32) / _FASTER

    def build(self, *_shapes: tuple[int, ...]) -> None:
        self.numbers = self.add_weight((3,), keras.initializers.Constant(self.start), name="episode")

    def logit(self, answer: keras.KerasTensor, times: float = 1.0) -> keras.KerasTensor:
        return answer * (self.numbers[0] * _FASTER * times) + self.numbers[2] * _FASTER

    @property
    def stiffness(self) -> keras.KerasTensor:
        return ops.softplus(self.numbers[1] * _FASTER) + 1e-3


class ImageEpisode(_Scaled):
    """Judge each image of a product by all its others: features (P, n, F) and labels (P, n) → loss, a scalar.

    The others' answer comes from one solution for all: of the residual of the fit, divided by what of it the image caused itself
    (leave-one-out residuals of linear smoothers; Hastie et al., "The elements of statistical learning", eq. 7.64).
    """

    def __init__(self) -> None:
        super().__init__(4.0, 0.0, "image_episode")

    def call(self, features: keras.KerasTensor, labels: keras.KerasTensor) -> keras.KerasTensor:
        x = _standardised(features, axes=(1,))
        n, n_features = x.shape[1:]
        likeness = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / n_features + _CONSTANT
        smoother = ops.linalg.solve(likeness + self.stiffness * ops.eye(n), likeness)
        targets = labels * 2 - 1
        fitted = ops.einsum("pij,pi->pj", smoother, targets)  # the transpose of it
        own = ops.einsum("pii->pi", smoother)
        left_out = targets - (targets - fitted) / ops.maximum(1 - own, 1e-2)
        logits = self.logit(ops.clip(left_out, -3, 3))
        n_defective = ops.sum(labels, 1, keepdims=True)
        usable = ops.cast((n_defective >= 3) & (n_defective <= n - 3), "float32")
        return ops.sum(_cross_entropy(labels, logits) * usable) / (ops.sum(usable) * n + 1e-6)


class CellEpisode(_Scaled):
    """Judge cells of half of a product's images by those of the other half, and from them these images.

    Cells (P, n, c, F) and whether each is defective (P, n, c) → loss of the cells, and of the images: scalars.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(4.0, -1.0, "cell_episode")
        self.chance = keras.random.SeedGenerator(seed)

    def call(
        self, cells: keras.KerasTensor, labels: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        x = _standardised(cells, axes=(1, 2))
        products, n, c, n_features = x.shape
        half, kept = n // 2, min(c, _CELLS)
        order = ops.argsort(keras.random.uniform((products, n, c), seed=self.chance) - labels * 2, axis=2)
        chosen = order[..., :kept]
        x, labels = ops.take_along_axis(x, chosen[..., None], 2), ops.take_along_axis(labels, chosen, 2)
        learned, asked = (
            ops.reshape(part, (products, -1, n_features)) for part in (x[:, :half], x[:, half:])
        )
        known, wanted = (ops.reshape(part, (products, -1)) for part in (labels[:, :half], labels[:, half:]))
        root = ops.sqrt(1 + 3 * known)[..., None]  # a defective cell counts four times
        weighted = learned * root
        likeness = ops.matmul(weighted, ops.transpose(weighted, (0, 2, 1))) / n_features
        likeness += _CONSTANT * root * ops.transpose(root, (0, 2, 1))
        stiff = likeness + 10 * self.stiffness * ops.eye(likeness.shape[1])
        solution = ops.linalg.solve(stiff, known[..., None] * root)
        across = ops.matmul(asked, ops.transpose(weighted, (0, 2, 1))) / n_features
        answers = ops.matmul(across + _CONSTANT * ops.transpose(root, (0, 2, 1)), solution)[..., 0]
        logits = self.logit(ops.clip(answers, -2, 3), times=2)
        of_cells = ops.mean(_cross_entropy(wanted, logits) * (1 + 3 * wanted))
        evidence = ops.reshape(logits, (products, n - half, kept))
        image_logits = ops.logsumexp(evidence, axis=2) - float(np.log(kept)) / 2
        is_defective = ops.max(ops.reshape(wanted, (products, n - half, kept)), axis=2)
        return of_cells, ops.mean(_cross_entropy(is_defective, image_logits))


def _standardised(values: keras.KerasTensor, axes: tuple[int, ...]) -> keras.KerasTensor:
    mean, variance = ops.moments(values, axes, keepdims=True)
    return ops.clip((values - mean) / (ops.sqrt(variance + 1e-8) + _FLOOR), -_CLIP, _CLIP)


def _cross_entropy(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    return ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits))

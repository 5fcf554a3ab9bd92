import numpy as np

from defect_detection.training.folds import Folds

FOLD = np.array([0, 1, 0, 1, 2])


def test_cross_validation_holds_every_image_out_once_and_keeps_a_fit_of_all():
    folds = Folds(FOLD, refit=True)
    pairs = [(rows.tolist(), held.tolist()) for rows, held in folds]
    assert pairs == [([1, 3, 4], [0, 2]), ([0, 2, 4], [1, 3]), ([0, 1, 2, 3], [4])]
    assert folds.scored.tolist() == folds.kept.tolist() == [0, 1, 2, 3, 4]
    assert folds.learns.T.tolist() == [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_one_split_keeps_the_fit_that_held_validation_out():
    folds = Folds(np.array([-1, -1, 0]), refit=False)
    assert folds.scored.tolist() == [2]
    assert folds.kept.tolist() == [0, 1]
    assert folds.learns.tolist() == [[1], [1], [0]]


def test_of_each_image_the_value_of_the_fit_that_held_it_out_is_taken():
    values = np.arange(20.0).reshape(5, 4)
    assert Folds(FOLD, refit=True).held_out(values).tolist() == [0, 5, 8, 13, 18]
    one = Folds(np.array([-1, 0]), refit=False).held_out(np.array([[7.0], [8.0]]))
    assert np.isnan(one[0]) and one[1] == 8


def test_only_one_fold_can_judge_a_trunk_that_was_trained_on_the_others():
    folds = Folds(FOLD, refit=True).only(0)
    assert folds.count == 1
    assert folds.scored.tolist() == [0, 2]
    assert folds.kept.tolist() == [0, 1, 2, 3, 4]

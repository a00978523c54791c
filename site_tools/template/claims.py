"""Claims of docs/questions/two-dice.md."""

from two_dice import throws


def test_mean_of_two_dice_is_seven(measured):
    """Proved: the mean of two dice is 7, which one pair in six gives."""
    sums = throws(2)
    measured(mean=sums.mean(), variance=sums.var(), share=(sums == 7).mean())
    assert sums.mean() == 7
    assert (sums == 7).mean() == 6 / 36


def test_mean_of_one_of_two_dice(measured):
    """Proved: the mean of one die is 3.5."""
    measured(mean=throws(1).mean())
    assert throws(1).mean() == 3.5


def test_variances_of_two_dice_add_up(measured):
    """Proved: the variance of two independent dice is twice that of one; of two glued dice it is four times that."""
    one, two, glued = throws(1).var(), throws(2).var(), throws(2, glued=True).var()
    measured(one=one, two=two, glued=glued)
    assert abs(two - 2 * one) < 1e-12  # rounding only
    assert abs(glued - 4 * one) < 1e-12  # control

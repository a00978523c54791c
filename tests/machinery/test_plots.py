"""The table behind each plot says what the plot shows."""

import plots
import pytest


@pytest.fixture
def subplots():
    """Imported by who needs it alone: each worker of the tests collects this file."""
    import matplotlib  # noqa: PLC0415

    matplotlib.use("agg")
    from matplotlib import pyplot  # noqa: PLC0415

    yield pyplot.subplots
    pyplot.close("all")


@pytest.mark.parametrize(
    ("draw", "table"),
    [
        (lambda axis: axis.plot([1, 2], [3, 0.123456], label="a, b"), 'series,x,y\n"a, b",1,3\n"a, b",2,0.1235\n'),
        (lambda axis: axis.scatter([1], [2]), "x,y\n1,2\n"),
        (lambda axis: axis.bar(["one", "two"], [3, 4]), "x,y\none,3\ntwo,4\n"),
        (lambda axis: axis.barh(["one"], [3]), "y,x\none,3\n"),
        (lambda axis: axis.hist([1, 1, 2], bins=[0.5, 1.5, 2.5]), "x,y\n1,2\n2,1\n"),
        (
            lambda axis: axis.stackplot([1, 2], [[3, 4], [1, 1]], labels="pq"),
            "series,x,y\np,1,3\np,2,4\nq,1,1\nq,2,1\n",
        ),
        (
            lambda axis: axis.imshow([[1, 2]]) and axis.set_xticks([0, 1], ["k", "l"]),
            "series,x,y\nrow 1,k,1\nrow 1,l,2\n",
        ),
    ],
)
def test_table_of_one_panel(subplots, draw, table):
    figure, axis = subplots()
    draw(axis)
    figure.canvas.draw()
    assert plots.as_csv(figure) == table


def test_table_of_panels_says_which(subplots):
    figure, axes = subplots(1, 2)
    for axis in axes:
        axis.plot([1], [2])
        axis.set(xlabel="time", ylabel="loss")
    assert plots.as_csv(figure).splitlines()[1:] == ["1 loss against time,,1,2", "2 loss against time,,1,2"]

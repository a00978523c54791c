"""What a figure shows, as a table: the plain text of every plot, written in the snippet's kernel."""

import csv
import io
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure


def as_csv(figure: Figure) -> str:
    """Points of lines and dots, heights of bars and bands, cells of maps; numbers to four digits."""
    axes = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    if len(axes) == 1:
        labels = [axes[0].get_xlabel() or "x", axes[0].get_ylabel() or "y"]
        table = [["series", *(labels[::-1] if lies(axes[0]) else labels)]]
    else:
        table = [["panel", "series", "x", "y"]]
    for number, axis in enumerate(axes, start=1):
        about = " against ".join(filter(None, [axis.get_ylabel(), axis.get_xlabel()]))
        panel = [] if len(axes) == 1 else [f"{number} {axis.get_title() or about}".strip()]
        table += [[*panel, *map(shown, row)] for row in rows(axis)]
    nameless = len(axes) == 1 and not any(row[0] for row in table[1:])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(row[1:] if nameless else row for row in table)
    return file.getvalue()


def lies(axis: Axes) -> bool:
    """Are there bars that run along x?"""
    return any(isinstance(part, BarContainer) and part.orientation == "horizontal" for part in axis.containers)


def rows(axis: Axes) -> list[tuple]:
    """(series, x, y) of everything in one panel."""
    found = []
    for line in axis.lines:
        found += [(line.get_label(), x, y) for x, y in np.asarray(line.get_xydata())]
    for shape in axis.collections:
        if isinstance(shape, PathCollection):
            found += [(shape.get_label(), x, y) for x, y in np.asarray(shape.get_offsets())]
        elif isinstance(shape, PolyCollection):  # a band: its height at each x
            x, y = shape.get_paths()[0].vertices.T
            found += [(shape.get_label(), at, np.ptp(y[x == at])) for at in np.unique(x)]
    for bars in (part for part in axis.containers if isinstance(part, BarContainer)):
        lying = lies(axis)
        known = names(axis.yaxis if lying else axis.xaxis)
        for bar in bars:
            middle = bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
            found.append((bars.get_label(), known.get(middle, middle), bar.get_width() if lying else bar.get_height()))
    for image in axis.images:
        across, down = names(axis.xaxis), names(axis.yaxis)
        for (row, column), value in np.ndenumerate(np.asarray(image.get_array())):
            found.append((down.get(row, f"row {row + 1}"), across.get(column, f"column {column + 1}"), value))
    return found


def names(axis: Axis) -> dict[float, str]:
    """Ticks that say something else than their number."""
    labels = zip(axis.get_ticklocs(), (text.get_text() for text in axis.get_ticklabels()), strict=False)
    return {float(place): text for place, text in labels if not re.fullmatch(r"[-−]?[\d.]*", text)}


def shown(value) -> str:
    if isinstance(value, str):
        return "" if value.startswith("_") else value
    return f"{float(value):.4g}"

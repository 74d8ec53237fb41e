"""What all plots share: colours, the look of a panel, symbols along an axis, and writing a PNG."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxlstm.files import replacing

# From the palette of Okabe & Ito (2008), told apart under every common form of colour blindness.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, LIGHT_GREY, INK = "#767676", "#DDDDDD", "#222222"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)

_SIGNS = str.maketrans(
    {
        " ": "\N{OPEN BOX}",
        "\t": "\N{RIGHTWARDS ARROW}",
        "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    }
)


def new_figure(width: float, height: float, heading: str = "") -> Figure:
    """An empty figure of so many inches, whose panels make room for their labels and for the heading above them."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    if heading:
        figure.suptitle(heading, fontsize=12, color=INK, parse_math=False)
    return figure


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", grid: bool = True) -> None:
    """Title, axis labels and the common look: no frame on the open sides, a faint grid behind the data."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    axes.set_xlabel(x, fontsize=10, color=INK, parse_math=False)
    axes.set_ylabel(y, fontsize=10, color=INK, parse_math=False)
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=LIGHT_GREY, linewidth=0.6)


def legend_above(axes: Axes) -> None:
    """A legend on the line of the title, where it hides no data."""
    axes.legend(fontsize=9, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98), borderaxespad=0)


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers alone: steps and epochs have no halves."""
    axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def label_steps(axis: Axis, symbols: Sequence[object], most: int, through: int = 0) -> None:
    """A symbol at each step, or at every second, third ... where there are more than `most`.

    Thinned or not, the step `through` keeps its label. White space is drawn as visible signs.
    """
    stride = math.ceil(len(symbols) / most)
    steps = range(through % stride, len(symbols), stride)
    axis.set_ticks(steps, [visible(str(symbols[step])) for step in steps], parse_math=False)


def visible(text: str) -> str:
    """The text with signs in place of white space, which a label would not show."""
    return text.translate(_SIGNS)


def save(figure: Figure, path: str | Path) -> None:
    """Writes the figure as a PNG, all or nothing.

    Raises:
      ValueError: a name that does not end in .png.
      OSError: the folder is missing or cannot be written to.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {path.name}")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=150)

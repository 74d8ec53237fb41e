"""The picture of how a run went, which every system leaves."""

from collections.abc import Sequence

from jaxlstm import plots
from jaxlstm.runs import Run
from jaxlstm.training import Row


def draw_learning(
    run: Run, rows: Sequence[Row], metrics: Sequence[str] = (), *, model: str = "", name: str = "learning"
) -> None:
    """NAME.png in the run's folder, `jaxlstm.plots.learning_curves`; none of a single epoch, which makes no curve."""
    if plots.has_curve(rows):
        plots.save(plots.learning_curves(rows, metrics, model=model), run.folder / f"{name}.png")

"""The loss curve of an alignment as a picture."""

from __future__ import annotations

from pathlib import Path

from gag.atomic import new_file
from gag.training.checkpoint import RunState


def draw_losses(run: RunState, path: Path, *, title: str) -> None:
    """Write a PNG of training and dev loss (nats a token) against steps, the best step marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if run.losses:
        axes.plot(*zip(*run.losses, strict=True), color="#9bb7d4", linewidth=1, label="training")
    if run.dev_losses:
        axes.plot(*zip(*run.dev_losses, strict=True), color="#b3472b", marker="o", markersize=3, label="dev")
        axes.axvline(run.best_step, color="#b3472b", linestyle=":", linewidth=1, label=f"best step {run.best_step}")
    axes.set(title=title, xlabel="step", ylabel="negative log-likelihood a token (nats)")
    if axes.lines:
        axes.legend()
    with new_file(path) as partial:
        figure.savefig(partial, dpi=130, format="png")

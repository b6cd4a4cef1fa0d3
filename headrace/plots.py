"""What all our plots share: SVG text with text as text, colours that everybody can tell apart, no frame."""

from __future__ import annotations

import io
import os
from pathlib import Path

# matplotlib keeps a font list beside its configuration; ours goes where all of the product's cache goes.
_CACHE = (
    os.environ.get("HEADRACE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
)
os.environ.setdefault("MPLCONFIGDIR", str(Path(_CACHE) / "matplotlib"))

import matplotlib as mpl  # noqa: E402 - after its folder is set

mpl.use("Agg")
# Text stays text, ids do not change from run to run.
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "headrace",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
    }
)
from matplotlib.axes import Axes  # noqa: E402 - after the backend is chosen
from matplotlib.figure import Figure  # noqa: E402 - after the backend is chosen

# Okabe and Ito's colours, which stay apart for colour-blind readers.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#999999", "#D55E00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"


def figure(height: float = 3.4) -> tuple[Figure, Axes]:
    """A figure as wide as the page's text, with one pair of axes."""
    made = Figure(figsize=(8.0, height))
    return made, made.add_subplot()


def svg(made: Figure) -> str:
    """The figure as an SVG element."""
    out = io.StringIO()
    made.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]

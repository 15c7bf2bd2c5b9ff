"""Pictures. Every function that draws takes ``ax=`` and returns Axes; none shows or trains.

Each draws a display, which is also available here; use displays to compute once and draw often, or
to read what is drawn as a table. `animation`, `explore` and `report` write a file.
"""

from __future__ import annotations

from dann_transfer.plots.alignment import AlignmentDisplay, alignment, features_frame
from dann_transfer.plots.animation import AnimationDisplay, FeatureWatcher, animation
from dann_transfer.plots.explore import explore
from dann_transfer.plots.gains import GainDisplay, TransferMatrixDisplay, gain, transfer_matrix
from dann_transfer.plots.maps import embed, feature_map
from dann_transfer.plots.predictions import (
    ConfusionDisplay,
    CoverageDisplay,
    ReliabilityDisplay,
    confusion,
    coverage,
    reliability,
)
from dann_transfer.plots.report import report
from dann_transfer.plots.training import TrainingDisplay, training

__all__ = [
    "AlignmentDisplay",
    "AnimationDisplay",
    "ConfusionDisplay",
    "CoverageDisplay",
    "FeatureWatcher",
    "GainDisplay",
    "ReliabilityDisplay",
    "TrainingDisplay",
    "TransferMatrixDisplay",
    "alignment",
    "animation",
    "confusion",
    "coverage",
    "embed",
    "explore",
    "feature_map",
    "features_frame",
    "gain",
    "reliability",
    "report",
    "training",
    "transfer_matrix",
]

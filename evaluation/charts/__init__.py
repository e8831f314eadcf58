"""Charts of evidence, as SVG that needs no script and prints. Drawn from plain measurements and verdicts.

Every chart is a finding in words, a picture, a text alternative and a table, all made from the same rows. ``plan_*``
gives all but the picture, which ``ChartPlan.draw`` draws.
"""

from evaluation.charts.calibration import plan_calibration
from evaluation.charts.differences import plan_differences
from evaluation.charts.drawing import PALETTES, Chart, ChartPlan, NothingToDrawError, Palette, Theme, to_svg
from evaluation.charts.forest import BESIDE, plan_forest
from evaluation.charts.heatmap import plan_heatmap
from evaluation.charts.timeline import StreamDot, StreamLine, plan_timeline
from evaluation.charts.timeline_axis import Happening, WindowState
from evaluation.charts.track import TrackPoint, e_value, plan_track
from evaluation.charts.tradeoff import plan_tradeoff

__all__ = [
    "BESIDE",
    "PALETTES",
    "Chart",
    "ChartPlan",
    "Happening",
    "NothingToDrawError",
    "Palette",
    "StreamDot",
    "StreamLine",
    "Theme",
    "TrackPoint",
    "WindowState",
    "e_value",
    "plan_calibration",
    "plan_differences",
    "plan_forest",
    "plan_heatmap",
    "plan_timeline",
    "plan_track",
    "plan_tradeoff",
    "to_svg",
]

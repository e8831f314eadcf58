"""Charts of evidence, as SVG that needs no script and prints. Drawn from plain measurements and verdicts.

Every chart is a finding in words, a picture, a text alternative and a table, all made from the same rows. ``plan_*``
gives all but the picture; ``*_chart`` gives the picture too.
"""

from evaluation.charts.calibration import calibration_chart, plan_calibration
from evaluation.charts.differences import differences_chart, plan_differences
from evaluation.charts.drawing import PALETTES, Chart, ChartPlan, NothingToDrawError, Palette, Theme, to_svg
from evaluation.charts.forest import BESIDE, forest_chart, plan_forest
from evaluation.charts.heatmap import heatmap_chart, plan_heatmap
from evaluation.charts.timeline import StreamDot, StreamLine, plan_timeline
from evaluation.charts.timeline_axis import Happening, WindowState
from evaluation.charts.track import TrackPoint, e_value, plan_track
from evaluation.charts.tradeoff import plan_tradeoff, tradeoff_chart

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
    "calibration_chart",
    "differences_chart",
    "e_value",
    "forest_chart",
    "heatmap_chart",
    "plan_calibration",
    "plan_differences",
    "plan_forest",
    "plan_heatmap",
    "plan_timeline",
    "plan_track",
    "plan_tradeoff",
    "to_svg",
    "tradeoff_chart",
]

"""What a person sees of a run: progress, metrics files, tables, pictures; made from plain values."""

from efficientnet_advprop.reporting.image_strip import write_image_strip
from efficientnet_advprop.reporting.metrics_log import METRICS_FILE, MetricsLog, recorded_results
from efficientnet_advprop.reporting.progress import ProgressDisplay, progress_bar
from efficientnet_advprop.reporting.tables import comparison_table, describe_recipe, prediction_table, summary_table

__all__ = [
    "METRICS_FILE",
    "MetricsLog",
    "ProgressDisplay",
    "comparison_table",
    "describe_recipe",
    "prediction_table",
    "progress_bar",
    "recorded_results",
    "summary_table",
    "write_image_strip",
]

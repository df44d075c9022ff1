"""The output of runs for people: progress, metrics files, tables, figures, reports; made from plain values."""

from efficientnet_advprop.reporting.comparison_figures import write_comparison_figures
from efficientnet_advprop.reporting.comparison_report import comparison_in_words, write_comparison_report
from efficientnet_advprop.reporting.evaluation_figures import write_evaluation_figures
from efficientnet_advprop.reporting.evaluation_report import write_evaluation_report
from efficientnet_advprop.reporting.evaluation_tables import evaluation_table
from efficientnet_advprop.reporting.image_sheets import write_contact_sheet, write_image_strip
from efficientnet_advprop.reporting.metrics_log import METRICS_FILE, MetricsLog, recorded_results
from efficientnet_advprop.reporting.progress import BadImagesByEpoch, ProgressDisplay, progress_bar
from efficientnet_advprop.reporting.study_figures import write_study_figures
from efficientnet_advprop.reporting.study_report import write_study_report
from efficientnet_advprop.reporting.tables import (
    comparison_table,
    describe_data,
    describe_recipe,
    describe_variables,
    prediction_table,
    summary_table,
)

__all__ = [
    "METRICS_FILE",
    "BadImagesByEpoch",
    "MetricsLog",
    "ProgressDisplay",
    "comparison_in_words",
    "comparison_table",
    "describe_data",
    "describe_recipe",
    "describe_variables",
    "evaluation_table",
    "prediction_table",
    "progress_bar",
    "recorded_results",
    "summary_table",
    "write_comparison_figures",
    "write_comparison_report",
    "write_contact_sheet",
    "write_evaluation_figures",
    "write_evaluation_report",
    "write_image_strip",
    "write_study_figures",
    "write_study_report",
]

"""What a run shows people: progress, metric files, tables, figures, reports; made from plain values."""

from efficientnet_advprop.reporting.comparison_figures import write_comparison_figures as write_comparison_figures
from efficientnet_advprop.reporting.comparison_report import (
    comparison_in_words as comparison_in_words,
    write_comparison_report as write_comparison_report,
)
from efficientnet_advprop.reporting.evaluation_figures import write_evaluation_figures as write_evaluation_figures
from efficientnet_advprop.reporting.evaluation_report import write_evaluation_report as write_evaluation_report
from efficientnet_advprop.reporting.evaluation_tables import evaluation_table as evaluation_table
from efficientnet_advprop.reporting.figures import FIGURES_FOLDER as FIGURES_FOLDER, ReportFigures as ReportFigures
from efficientnet_advprop.reporting.image_sheets import (
    Row as Row,
    image_rows as image_rows,
    image_strip as image_strip,
    predicted as predicted,
    rescaled as rescaled,
    write_contact_sheet as write_contact_sheet,
    write_image_strip as write_image_strip,
)
from efficientnet_advprop.reporting.markdown import percent as percent
from efficientnet_advprop.reporting.metrics_log import (
    METRICS_FILE as METRICS_FILE,
    MetricsLog as MetricsLog,
    recorded_results as recorded_results,
)
from efficientnet_advprop.reporting.output import keep_printing as keep_printing
from efficientnet_advprop.reporting.plan_report import describe_plan as describe_plan
from efficientnet_advprop.reporting.progress import (
    BadImagesByEpoch as BadImagesByEpoch,
    ProgressDisplay as ProgressDisplay,
    progress_bar as progress_bar,
    time_passing as time_passing,
)
from efficientnet_advprop.reporting.run_report import (
    ReportOfRun as ReportOfRun,
    report_path as report_path,
    write_run_report as write_run_report,
)
from efficientnet_advprop.reporting.study_figures import write_study_figures as write_study_figures
from efficientnet_advprop.reporting.study_report import write_study_report as write_study_report
from efficientnet_advprop.reporting.tables import (
    comparison_table as comparison_table,
    describe_data as describe_data,
    describe_recipe as describe_recipe,
    describe_variables as describe_variables,
    prediction_table as prediction_table,
    summary_table as summary_table,
)
from efficientnet_advprop.reporting.visualization_report import (
    Section as Section,
    write_visualization as write_visualization,
)

"""Evaluation on robustness benchmarks: what passes over pictures it takes, how a network answers, what is written."""

from efficientnet_advprop.benchmarking.evaluation import run_benchmarks
from efficientnet_advprop.benchmarking.passes import find_sets, plan_passes

__all__ = ["find_sets", "plan_passes", "run_benchmarks"]

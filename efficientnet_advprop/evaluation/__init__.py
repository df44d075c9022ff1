"""Evaluators: each passes over the evaluation pictures once and yields (name, value)."""

from efficientnet_advprop.evaluation.accuracy import CleanAccuracy, Evaluator, PgdAccuracy, run_all
from efficientnet_advprop.evaluation.examples import AdversarialExamples, adversarial_examples

__all__ = ["AdversarialExamples", "CleanAccuracy", "Evaluator", "PgdAccuracy", "adversarial_examples", "run_all"]

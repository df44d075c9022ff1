"""Evaluators, each of which passes over the evaluation pictures once and yields (name, value); and predictions."""

from efficientnet_advprop.evaluation.accuracy import CleanAccuracy, Evaluator, PgdAccuracy, run_all
from efficientnet_advprop.evaluation.corrupted import CorruptedAccuracy
from efficientnet_advprop.evaluation.examples import AdversarialExamples, adversarial_examples
from efficientnet_advprop.evaluation.observation import loss_gradients, running_statistics
from efficientnet_advprop.evaluation.prediction import logits_of_batches, top_classes

__all__ = [
    "AdversarialExamples",
    "CleanAccuracy",
    "CorruptedAccuracy",
    "Evaluator",
    "PgdAccuracy",
    "adversarial_examples",
    "logits_of_batches",
    "loss_gradients",
    "run_all",
    "running_statistics",
    "top_classes",
]

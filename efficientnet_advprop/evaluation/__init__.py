"""Evaluators, each of which passes over the evaluation pictures once and yields (name, value); and predictions."""

from efficientnet_advprop.evaluation.accuracy import CleanAccuracy, Evaluator, PgdAccuracy, run_all
from efficientnet_advprop.evaluation.answers import AnswerCollector, Answers, Batch, through_branches
from efficientnet_advprop.evaluation.corrupted import CorruptedAccuracy, corrupted_dataset, kept_in_memory
from efficientnet_advprop.evaluation.corruptions import CORRUPTIONS, require_libraries
from efficientnet_advprop.evaluation.examples import AdversarialExamples, adversarial_examples
from efficientnet_advprop.evaluation.observation import loss_gradients, running_statistics
from efficientnet_advprop.evaluation.prediction import logits_of_batches, top_classes
from efficientnet_advprop.evaluation.worst_case import logits_after_one_step, logits_at_random_point, worst_logits

__all__ = [
    "CORRUPTIONS",
    "AdversarialExamples",
    "AnswerCollector",
    "Answers",
    "Batch",
    "CleanAccuracy",
    "CorruptedAccuracy",
    "Evaluator",
    "PgdAccuracy",
    "adversarial_examples",
    "corrupted_dataset",
    "kept_in_memory",
    "logits_after_one_step",
    "logits_at_random_point",
    "logits_of_batches",
    "loss_gradients",
    "require_libraries",
    "run_all",
    "running_statistics",
    "through_branches",
    "top_classes",
    "worst_logits",
]

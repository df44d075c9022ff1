"""Every flag of `main.py`.

Names and senses are the official trainer's where it has the flag (models/official/efficientnet/main.py).
No flag has a default of its own: an absent one leaves the recipe's value, which depends on model, data set and scheme.
"""

import dataclasses
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import BENCHMARKS, MAIN_BRANCH, NETWORKS, ROBUSTNESS_RESIZES, SCHEMES, SUCCESSES
from efficientnet_advprop.recipes.attack_spec import BATCH_NORM_MODES, METHODS, NORMS, TARGETS
from efficientnet_advprop.recipes.data_spec import AUGMENTATIONS, DATASETS, EVAL_CROPS, RESIZES, TRAIN_CROPS
from efficientnet_advprop.recipes.networks import PREPROCESSINGS
from efficientnet_advprop.recipes.optimizer_spec import OPTIMIZERS, SCHEDULES
from efficientnet_advprop.recipes.run_options import BAD_IMAGES, EXPORT_FORMATS

MODES = ("train_and_eval", "train", "eval", "predict", "export", "check_data", "study", "compare")


@dataclasses.dataclass(frozen=True)
class RecipeFlag:
    """A flag that replaces one value of the recipe.

    Attributes:
        name: the flag's.
        path: the value's in the recipe, as `recipes.override` takes it.
        kind: its type (`tuple[float, ...]` is written 30,60,90), or the tuple of the values allowed.
        help: shown by --help.
    """

    name: str
    path: str
    kind: type | tuple[str, ...]
    help: str


RECIPE_FLAGS = (
    # The network.
    RecipeFlag("input_image_size", "network.input_image_size", int, "Side of the square input, in pixels."),
    RecipeFlag("width_coefficient", "network.width_coefficient", float, "Factor on the baseline's channels."),
    RecipeFlag("depth_coefficient", "network.depth_coefficient", float, "Factor on the baseline's block repeats."),
    RecipeFlag("dropout_rate", "network.dropout_rate", float, "Share of features dropped before the classifier."),
    RecipeFlag("survival_prob", "network.survival_prob", float, "Probability that the last residual block is kept."),
    RecipeFlag("batch_norm_momentum", "network.batch_norm_momentum", float, "Share of the old moving average kept."),
    RecipeFlag("batch_norm_epsilon", "network.batch_norm_epsilon", float, "Added to the variance."),
    RecipeFlag("sync_batch_norm", "network.sync_batch_norm", bool, "Batch statistics over all replicas; slower."),
    RecipeFlag("preprocessing", "network.preprocessing", PREPROCESSINGS, "What the network does to pixels."),
    RecipeFlag("classifier_init_scale", "network.classifier_init_scale", float, "Factor on the classifier's start."),
    RecipeFlag("zero_init_residual", "network.zero_init_residual", bool, "Residual blocks start as the identity."),
    RecipeFlag("stem_strides", "network.stem_strides", int, "Step of the first convolution; 1 for small images."),
    # The data.
    RecipeFlag("num_label_classes", "data.num_label_classes", int, "Number of classes, where nothing tells it."),
    RecipeFlag("num_train_images", "data.num_train_images", int, "Images in one epoch, where not counted."),
    RecipeFlag("num_eval_images", "data.num_eval_images", int, "Images of an evaluation, where not counted."),
    RecipeFlag("train_crop", "data.train_crop", TRAIN_CROPS, "How training images are cropped."),
    RecipeFlag("eval_crop", "data.eval_crop", EVAL_CROPS, "Central square that evaluation sees."),
    RecipeFlag("flip", "data.flip", bool, "Mirror half of the training images."),
    RecipeFlag("resize", "data.resize", RESIZES, "TF1's bicubic, or bilinear as PIL's."),
    RecipeFlag("augment_name", "data.augment_name", AUGMENTATIONS, "What training images go through after the flip."),
    RecipeFlag("randaug_num_layers", "data.randaug_num_layers", int, "RandAugment's operations per image."),
    RecipeFlag("randaug_magnitude", "data.randaug_magnitude", int, "RandAugment's level; 10 is AutoAugment's highest."),
    RecipeFlag("augment_pixel_scale", "data.augment_pixel_scale", float, "Factor on augmentation's pixels; 1: 224 px."),
    RecipeFlag("mixup_alpha", "data.mixup_alpha", float, "Of MixUp's Beta distribution; 0: off."),
    RecipeFlag("cutmix_alpha", "data.cutmix_alpha", float, "Of CutMix's Beta distribution; 0: off."),
    RecipeFlag("holdout_shards", "data.holdout_shards", int, "Evaluate on the first training files, not trained on."),
    RecipeFlag(
        "train_images_per_class", "data.train_images_per_class", int, "Train on the first so many of each class."
    ),
    # The attack that makes the training images adversarial.
    RecipeFlag("attack", "attack.method", METHODS, "Attacker; none: an ablation without any."),
    RecipeFlag("attack_norm", "attack.norm", NORMS, "What epsilon and step size measure."),
    RecipeFlag("attack_epsilon", "attack.epsilon_px", float, "Radius in pixels of [0, 255]."),
    RecipeFlag("attack_step_size", "attack.step_size_px", float, "Length of a step in pixels of [0, 255]."),
    RecipeFlag("attack_steps", "attack.num_steps", int, "Number of steps."),
    RecipeFlag("attack_random_start", "attack.random_start", bool, "Start at a random point of the ball."),
    RecipeFlag("attack_target", "attack.target", TARGETS, "Raise the true class's loss, or lower a random one's."),
    RecipeFlag("attack_bn", "attack.batch_norm_mode", BATCH_NORM_MODES, "Statistics that the attack goes through."),
    # The scheme's terms.
    RecipeFlag("clean_weight", "term_weights.clean", float, "Weight of the loss on clean images."),
    RecipeFlag("adversarial_weight", "term_weights.adversarial", float, "Weight of the loss on adversarial images."),
    RecipeFlag("augmented_weight", "term_weights.augmented", float, "Weight of the augmented images of fine_grained."),
    RecipeFlag("noise_weight", "term_weights.noise", float, "Weight of the randomly moved images of fast_advprop."),
    RecipeFlag("clean_from_epoch", "clean_from_epoch", float, "Where adversarial_then_clean turns to clean images."),
    RecipeFlag("fast_adversarial_share", "fast_adversarial_share", float, "Share that fast_advprop attacks."),
    # The optimizer.
    RecipeFlag("optimizer", "optimizer.optimizer", OPTIMIZERS, "How weights move; rmsprop is TF1's."),
    RecipeFlag("base_learning_rate", "optimizer.base_learning_rate", float, "Peak rate per 256 clean images."),
    RecipeFlag("lr_schedule", "optimizer.lr_schedule", SCHEDULES, "How the learning rate falls."),
    RecipeFlag(
        "lr_decay_epoch", "optimizer.lr_decay_epochs", float, "Epochs between steps of the exponential staircase."
    ),
    RecipeFlag(
        "lr_step_epochs", "optimizer.lr_step_epochs", tuple[float, ...], "Epochs where schedule step goes down."
    ),
    RecipeFlag("lr_decay_factor", "optimizer.lr_decay_factor", float, "Factor of each step of a staircase."),
    RecipeFlag("lr_warmup_epochs", "optimizer.lr_warmup_epochs", float, "Epochs of linear warm-up from 0."),
    RecipeFlag("momentum", "optimizer.momentum", float, "Of rmsprop and momentum."),
    RecipeFlag("weight_decay", "optimizer.weight_decay", float, "Factor on half the weights' squared norm."),
    RecipeFlag("decay_batch_norm", "optimizer.decay_batch_norm", bool, "Batch norms' gamma and beta decay too."),
    RecipeFlag("moving_average_decay", "optimizer.moving_average_decay", float, "Of the evaluated weights; 0: off."),
    # The run.
    RecipeFlag("train_batch_size", "train_batch_size", int, "Clean images per step, over all replicas."),
    RecipeFlag("train_epochs", "train_epochs", float, "Length of the run in epochs."),
    RecipeFlag("train_steps", "train_steps", int, "Length of the run in steps, instead of epochs."),
    RecipeFlag("init_checkpoint", "init_checkpoint", str, "Weights from here: official or a run's, file or folder."),
    RecipeFlag("ema", "init_ema", bool, "The averaged weights of a checkpoint; --noema reads the raw ones."),
    RecipeFlag("label_smoothing", "label_smoothing", float, "Of every term's cross-entropy."),
    RecipeFlag("micro_batches", "micro_batches", int, "Pieces of each replica's batch, to save memory."),
    RecipeFlag("seed", "seed", int, "Of weights, order, augmentation, attacks and dropout."),
    # What is seen of it.
    RecipeFlag("iterations_per_loop", "cadence.iterations_per_loop", int, "Steps between two looks of the host."),
    RecipeFlag("steps_per_eval", "cadence.steps_per_eval", int, "Steps between two evaluations."),
    RecipeFlag("steps_per_checkpoint", "cadence.steps_per_checkpoint", int, "Steps between checkpoints, at most."),
    RecipeFlag("eval_batch_size", "cadence.eval_batch_size", int, "Images per evaluation step, over all replicas."),
    RecipeFlag("eval_branch", "cadence.eval_branch", str, "Branch that chooses the best checkpoint and is attacked."),
    RecipeFlag("keep_checkpoint_max", "cadence.keep_checkpoint_max", int, "Newest checkpoints to keep."),
)


class _NumbersParser(absl_flags.ArgumentParser):
    """Numbers with commas between them, as a tuple of floats."""

    syntactic_help = "numbers separated by commas"

    def parse(self, argument: str | tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(number) for number in argument.split(",")) if isinstance(argument, str) else argument


class _NumbersSerializer(absl_flags.ArgumentSerializer):
    """The way back."""

    def serialize(self, value: tuple[float, ...]) -> str:
        return ",".join(f"{number:g}" for number in value)


def _define_numbers(name: str, default: tuple[float, ...] | None, text: str) -> None:
    absl_flags.DEFINE(_NumbersParser(), name, default, text, serializer=_NumbersSerializer())


def _define(name: str, kind: type | tuple[str, ...], text: str, default: Any = None) -> None:
    if isinstance(kind, tuple):
        absl_flags.DEFINE_enum(name, default, kind, text)
    else:
        define = {
            str: absl_flags.DEFINE_string,
            int: absl_flags.DEFINE_integer,
            float: absl_flags.DEFINE_float,
            bool: absl_flags.DEFINE_bool,
            tuple[float, ...]: _define_numbers,
        }[kind]
        define(name, default, text)


def _define_all() -> None:
    _define("mode", MODES, "What to do.", default="train_and_eval")
    _define("model", tuple(NETWORKS), "Network.")
    absl_flags.DEFINE_alias("model_name", "model")
    _define("scheme", tuple(SCHEMES), "Training scheme.")
    _define("advprop", bool, "Short for --scheme=advprop.")
    names = ", ".join(DATASETS)
    absl_flags.DEFINE_list("schemes", None, "Schemes that a study compares, vanilla among them.")
    absl_flags.DEFINE_list("models", None, "Networks of a study; efficientnet-b0 if absent.")
    _define("seeds", int, "Runs of each scheme in a study, with the seeds from 0 on; 3 if absent.")
    _define("attack_epsilons", tuple[float, ...], "Strengths of the training attack that a study compares, in pixels.")
    absl_flags.DEFINE_list("compare", None, "Evaluated runs to compare: folders of runs, evaluations or studies.")
    _define("published", bool, "Set the paper's numbers of the networks compared beside them, in a table of their own.")
    absl_flags.DEFINE_list("benchmarks", None, f"What eval measures, with a report: {', '.join(BENCHMARKS)}.")
    absl_flags.DEFINE_list("corruptions", None, "Made on the fly; ImageNet-C's fifteen if absent, in a study six.")
    absl_flags.DEFINE_multi_string("benchmark_dir", None, "NAME=FOLDER of a test set of ImageNet; once for each.")
    _define("robustness_resize", ROBUSTNESS_RESIZES, "Images of 224 px at the network's size, or at their own; model.")
    _define("pgd_norm", NORMS, "Norm of the pgd benchmark; linf if absent.")
    _define("pgd_epsilons", tuple[float, ...], "Radii of the pgd benchmark in pixels.")
    _define("pgd_steps", int, "Steps of the pgd benchmark; 10 if absent.")
    _define("pgd_restarts", int, "Starts of the pgd benchmark; 1 if absent.")
    _define("pgd_success", SUCCESSES, "Point of pgd that counts: any, or the last of one attack (absent in a study).")
    _define("benchmark_images", int, "Measure on so many evenly spaced images of each set; all if absent.")
    _define("evaluation_dir", str, "Folder of the benchmarks' results; MODEL_DIR/evaluation if absent.")
    _define("dataset", str, f"{names}, or a name of TensorFlow Datasets; with --data_dir imagenet, without it digits.")
    _define("data_dir", str, "Folder (local or gs://): official TFRecords, class folders, or that of TFDS.")
    _define(
        "bad_images", BAD_IMAGES, "What an image that cannot be read does: end the run, or be counted and left out."
    )
    _define("deterministic", bool, "Resume on TFRecords at the very image; slower.")
    _define("use_cache", bool, "Keep the undecoded training images of TFRecords in memory.")
    _define(
        "model_dir",
        str,
        "The run's folder (local or gs://); runs/DATASET-MODEL-SCHEME, runs/study-DATASET or "
        "runs/comparison if absent.",
    )
    _define("export_dir", str, "Parent of the exported versions; MODEL_DIR/saved_model if absent.")
    _define(
        "export_format",
        EXPORT_FORMATS,
        "What to export to; all but SavedModels go to EXPORT_DIR/FORMAT.",
        "saved_model",
    )
    _define("export_branch", str, "Whose batch norms are exported.", default=MAIN_BRANCH)
    _define("checkpoint", ("last", "best"), "Which checkpoint eval, predict and export read.", default="last")
    _define("allow_extra_variables", bool, "Accept unknown variables in an official checkpoint.", default=False)
    _define("images", str, "Images to predict, or to compare an export on: a pattern such as 'FOLDER/*.jpg'.")
    _define("output", str, "File for the raw logits of predict, in NumPy's format.")
    _define("strategy", str, "Devices: auto, tpu, multi_worker, mirrored or one_device.", default="auto")
    _define("tpu", str, "TPU name or grpc:// address, or local on a TPU VM.")
    _define("tpu_zone", str, "Zone of the TPU.")
    _define("gcp_project", str, "Project of the TPU.")
    _define("use_bfloat16", bool, "Compute in bfloat16; on TPU by default, off elsewhere.")
    _define("remat", bool, "Recompute each block's activations in the backward pass, to save memory.", default=False)
    for flag in RECIPE_FLAGS:
        _define(flag.name, flag.kind, flag.help)


_define_all()

"""The flags that replace a value of the recipe."""

from pathlib import Path

from efficientnet_advprop.recipes import DATASETS, DEFAULT_MODEL, DEFAULT_SCHEME, NETWORKS, SCHEMES
from efficientnet_advprop.recipes.attack_spec import BATCH_NORM_MODES, METHODS, NORMS, TARGETS
from efficientnet_advprop.recipes.data_spec import AUGMENTATIONS, EVAL_CROPS, RESIZES, TRAIN_CROPS
from efficientnet_advprop.recipes.networks import PREPROCESSINGS
from efficientnet_advprop.recipes.optimizer_spec import OPTIMIZERS, SCHEDULES
from efficientnet_advprop.recipes.recipe import GENERATORS
from flags.flag import (
    IMAGES,
    IMAGES_OR_PLAN,
    LOOP,
    READING,
    RUN,
    RUN_CHECK_OR_PLAN,
    RUN_OR_CHECK,
    RUNS_OR_PLAN,
    RecipeFlag,
    Topic,
    by_topic,
    is_attacked,
    is_not_cropped,
    is_own,
)

_SOURCES = "; ".join(f"{scheme.name}: {scheme.source}" for scheme in SCHEMES.values())
_DEFAULT_DATASET = "imagenet with --data_dir and in plan, else digits"
_DATASETS = f"{', '.join(DATASETS)}, or a name in TensorFlow Datasets; default: {_DEFAULT_DATASET}."

# What reads a flag with weights of --init_checkpoint. A SavedModel is one finished network.
_GIVEN = {"given": READING}
_OF_CHECKPOINTS = {"given": READING, "saved_model": False}
_OF_OWN = {"given": ("eval", "visualize"), "read_by": is_own}
_ATTACKED = {"given": ("eval",), "read_by": is_attacked}
_PREDICTING = ("eval", "predict")

# A flag without modes is read by `RUNS`; its modes stand after the help.
RECIPE_FLAGS = by_topic(
    Topic.WHAT,
    RecipeFlag(
        "model",
        tuple(NETWORKS),
        f"Network; {DEFAULT_MODEL} if absent.",
        RUN_CHECK_OR_PLAN,
        "network.name",
        alias="model_name",
        instead_in_study="models",
        **_GIVEN,
    ),
    RecipeFlag(
        "scheme",
        tuple(SCHEMES),
        f"Training scheme; {DEFAULT_SCHEME} if absent. {_SOURCES}.",
        RUN_CHECK_OR_PLAN,
        instead_in_study="schemes",
        **_GIVEN,
    ),
    RecipeFlag("dataset", str, _DATASETS, IMAGES_OR_PLAN, "data.", read_by=is_own, **_GIVEN),
    Topic.NETWORK,
    RecipeFlag("input_image_size", int, "Side of the square input in pixels.", IMAGES_OR_PLAN, "network.", **_GIVEN),
    RecipeFlag(
        "width_coefficient", float, "Factor on the baseline's channels.", IMAGES_OR_PLAN, "network.", **_OF_CHECKPOINTS
    ),
    RecipeFlag(
        "depth_coefficient", float, "Factor on the baseline's repeats.", IMAGES_OR_PLAN, "network.", **_OF_CHECKPOINTS
    ),
    RecipeFlag("dropout_rate", float, "Fraction of features dropped before the classifier.", path="network."),
    RecipeFlag("survival_prob", float, "Probability that the last residual block is kept.", path="network."),
    RecipeFlag("batch_norm_momentum", float, "Fraction of the old average kept per update.", path="network."),
    RecipeFlag("batch_norm_epsilon", float, "Added to the variance.", path="network.", **_OF_CHECKPOINTS),
    RecipeFlag("sync_batch_norm", bool, "Batch statistics over all replicas; slower.", RUNS_OR_PLAN, "network."),
    RecipeFlag("preprocessing", PREPROCESSINGS, "Normalisation of pixels.", path="network.", **_GIVEN),
    RecipeFlag("classifier_init_scale", float, "Factor on the classifier's initial weights.", path="network."),
    RecipeFlag("zero_init_residual", bool, "Residual blocks start as the identity.", path="network."),
    RecipeFlag("stem_strides", int, "Stride of the first convolution.", RUNS_OR_PLAN, "network.", **_OF_CHECKPOINTS),
    Topic.DATA,
    RecipeFlag("num_label_classes", int, "Number of classes, if not counted.", IMAGES_OR_PLAN, "data.", **_GIVEN),
    RecipeFlag("num_train_images", int, "Images in one epoch, if not counted.", IMAGES_OR_PLAN, "data."),
    RecipeFlag("num_eval_images", int, "Evaluation images, if not counted.", IMAGES, "data.", **_OF_OWN),
    RecipeFlag("train_crop", TRAIN_CROPS, "How training images are cropped.", IMAGES_OR_PLAN, "data."),
    RecipeFlag(
        "eval_crop", EVAL_CROPS, "Central square of evaluation images.", path="data.", read_by=is_not_cropped, **_GIVEN
    ),
    RecipeFlag("flip", bool, "Mirror training images with probability 1/2.", IMAGES, "data."),
    RecipeFlag("resize", RESIZES, "Bicubic as in TF1, or bilinear as in PIL.", IMAGES, "data.", **_GIVEN),
    RecipeFlag(
        "augment_name", AUGMENTATIONS, "Augmentation of training images after crop and flip.", IMAGES_OR_PLAN, "data."
    ),
    RecipeFlag("randaug_num_layers", int, "RandAugment's operations per image.", IMAGES, "data."),
    RecipeFlag("randaug_magnitude", int, "RandAugment's level; 10 is AutoAugment's highest.", IMAGES, "data."),
    RecipeFlag("augment_pixel_scale", float, "Factor on lengths in augmentation; 1: for 224 px.", IMAGES, "data."),
    RecipeFlag("mixup_alpha", float, "Parameter of MixUp's Beta distribution; 0: off.", path="data."),
    RecipeFlag("cutmix_alpha", float, "Parameter of CutMix's Beta distribution; 0: off.", path="data."),
    RecipeFlag("holdout_shards", int, "Evaluate on this many training files, held out.", IMAGES, "data.", **_OF_OWN),
    RecipeFlag("train_images_per_class", int, "Train on the first N images of each class.", IMAGES, "data."),
    Topic.ATTACKS,
    RecipeFlag(
        "attack", METHODS, "Training attack; none: no perturbation, an ablation.", RUNS_OR_PLAN, "attack.method"
    ),
    RecipeFlag("attack_norm", NORMS, "Norm of epsilon and step size.", RUNS_OR_PLAN, "attack.norm"),
    RecipeFlag(
        "attack_epsilon",
        float,
        "Radius in pixels of [0, 255]: 8 is 8/255 in other code.",
        RUNS_OR_PLAN,
        "attack.epsilon_px",
    ),
    RecipeFlag(
        "attack_step_size", float, "Length of a step in pixels of [0, 255].", RUNS_OR_PLAN, "attack.step_size_px"
    ),
    RecipeFlag("attack_steps", int, "Number of steps.", RUNS_OR_PLAN, "attack.num_steps"),
    RecipeFlag(
        "attack_random_start", bool, "Start at a random point, not at the image.", RUNS_OR_PLAN, "attack.random_start"
    ),
    RecipeFlag(
        "attack_start_std",
        float,
        "Standard deviation in pixels of a normal start; 0: uniform.",
        RUNS_OR_PLAN,
        "attack.start_std_px",
    ),
    RecipeFlag(
        "attack_target", TARGETS, "Increase the label's loss, or lower a random class's.", RUNS_OR_PLAN, "attack.target"
    ),
    RecipeFlag(
        "attack_bn", BATCH_NORM_MODES, "Batch norm statistics of the attack.", RUNS_OR_PLAN, "attack.batch_norm_mode"
    ),
    Topic.TERMS,
    RecipeFlag("clean_weight", float, "Weight of the loss on clean images.", path="term_weights.clean"),
    RecipeFlag("adversarial_weight", float, "Weight of adversarial images.", path="term_weights.adversarial"),
    RecipeFlag("augmented_weight", float, "Weight of fine_grained's augmented images.", path="term_weights.augmented"),
    RecipeFlag("noise_weight", float, "Weight of the start images of fast_advprop.", path="term_weights.noise"),
    RecipeFlag("clean_from_epoch", float, "Epoch of adversarial_then_clean's switch to clean.", RUNS_OR_PLAN),
    RecipeFlag("fast_adversarial_share", float, "Fraction that fast_advprop attacks.", RUNS_OR_PLAN),
    Topic.OPTIMIZATION,
    RecipeFlag("optimizer", OPTIMIZERS, "Optimizer; rmsprop as in TF1.", RUNS_OR_PLAN, "optimizer."),
    RecipeFlag("base_learning_rate", float, "Peak learning rate per 256 clean images.", path="optimizer."),
    RecipeFlag("lr_schedule", SCHEDULES, "Learning rate schedule.", path="optimizer."),
    RecipeFlag("lr_decay_epoch", float, "Epochs between exponential drops.", path="optimizer.lr_decay_epochs"),
    RecipeFlag("lr_step_epochs", tuple[float, ...], "Epochs at which the step schedule drops.", path="optimizer."),
    RecipeFlag("lr_decay_factor", float, "Factor of each drop of the learning rate.", path="optimizer."),
    RecipeFlag("lr_warmup_epochs", float, "Epochs of linear warm-up from 0.", path="optimizer."),
    RecipeFlag("momentum", float, "Momentum of the optimizers rmsprop and momentum.", path="optimizer."),
    RecipeFlag("weight_decay", float, "Factor on half the squared norm of the weights.", path="optimizer."),
    RecipeFlag("decay_batch_norm", bool, "Decay gamma and beta of batch norms too.", path="optimizer."),
    RecipeFlag("moving_average_decay", float, "Decay of the averaged weights; 0: no average.", path="optimizer."),
    Topic.LENGTH,
    RecipeFlag("train_batch_size", int, "Clean images per step, over all replicas.", RUNS_OR_PLAN),
    RecipeFlag("train_epochs", float, "Length of the run in epochs.", RUNS_OR_PLAN),
    RecipeFlag("train_steps", int, "Length of the run in steps, instead of epochs.", RUNS_OR_PLAN),
    RecipeFlag("label_smoothing", float, "Label smoothing of every term's cross-entropy."),
    RecipeFlag("micro_batches", int, "Pieces of each replica's batch, to save memory.", RUNS_OR_PLAN),
    RecipeFlag(
        "seed",
        int,
        "Seed of initial weights, order of images, augmentation, attacks and dropout.",
        RUN_OR_CHECK,
        instead_in_study="seeds",
        given=("eval", "visualize"),
        read_by=is_attacked,
    ),
    RecipeFlag("generator", GENERATORS, "Generator of attack starts and dropout; philox: that of older runs."),
    Topic.WEIGHTS,
    RecipeFlag("init_checkpoint", Path, "Weights to start from or to read: path, name or address.", RUN, **_GIVEN),
    RecipeFlag("ema", bool, "Read averaged weights; --noema: the raw ones.", RUN, "init_ema", **_OF_CHECKPOINTS),
    RecipeFlag("keras_weights", Path, "Weights to start keras:NAME from: imagenet, or an .h5 file.", LOOP),
    RecipeFlag("freeze_epochs", float, "Epochs in which only the classifier learns; for given weights.", LOOP),
    Topic.CADENCE,
    RecipeFlag(
        "iterations_per_loop",
        int,
        "Steps on the device between two log lines; the first loops are shorter.",
        LOOP,
        "cadence.",
    ),
    RecipeFlag("steps_per_eval", int, "Steps between two evaluations.", ("train_and_eval",), "cadence."),
    RecipeFlag("steps_per_checkpoint", int, "Largest number of steps between checkpoints.", LOOP, "cadence."),
    RecipeFlag(
        "eval_batch_size",
        int,
        "Images per evaluation step, over all replicas.",
        ("train_and_eval", "study", *_PREDICTING),
        "cadence.",
        given=_PREDICTING,
    ),
    RecipeFlag(
        "eval_branch",
        str,
        "Branch that selects the best checkpoint, and that evaluation attacks.",
        ("train_and_eval", "eval"),
        "cadence.",
        saved_model=False,
        **_ATTACKED,
    ),
    RecipeFlag("keep_checkpoint_max", int, "Number of newest checkpoints to keep.", LOOP, "cadence."),
)

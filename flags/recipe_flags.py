"""The flags that replace a value of the recipe."""

from efficientnet_advprop.recipes import NETWORKS, SCHEMES
from efficientnet_advprop.recipes.attack_spec import BATCH_NORM_MODES, METHODS, NORMS, TARGETS
from efficientnet_advprop.recipes.data_spec import AUGMENTATIONS, DATASETS, EVAL_CROPS, RESIZES, TRAIN_CROPS
from efficientnet_advprop.recipes.networks import PREPROCESSINGS
from efficientnet_advprop.recipes.optimizer_spec import OPTIMIZERS, SCHEDULES
from flags.flag import READING, TRAINING, RecipeFlag, is_attacked, is_not_cropped, is_own

# Modes of flags of one run: training uses the value, the others compare it with the recorded one.
_RUN = (*TRAINING, *READING)
_SOURCES = "; ".join(f"{scheme.name}: {scheme.source}" for scheme in SCHEMES.values())
_RUNS = (*_RUN, "study")
# Modes of flags that change the training images, which --mode=check_data draws.
_RUN_OR_CHECK = (*_RUN, "check_data")
_IMAGES = (*_RUNS, "check_data")
# Modes of flags of the training loop, which are not compared with recorded values.
_LOOP = (*TRAINING, "study")

# Flags that a SavedModel as --init_checkpoint leaves without effect, as it is one finished network.
_OF_CHECKPOINTS = {"given": READING, "saved_model": False}
_DATASETS = f"{', '.join(DATASETS)}, or a name in TensorFlow Datasets; default: imagenet with --data_dir, else digits."

RECIPE_FLAGS = (
    # Model, scheme and data set.
    RecipeFlag(
        "model",
        tuple(NETWORKS),
        "Network.",
        _RUN_OR_CHECK,
        "network.name",
        alias="model_name",
        instead_in_study="models",
        given=READING,
    ),
    RecipeFlag(
        "scheme",
        tuple(SCHEMES),
        f"Training scheme. {_SOURCES}.",
        _RUN_OR_CHECK,
        "scheme",
        instead_in_study="schemes",
        given=READING,
    ),
    RecipeFlag("dataset", str, _DATASETS, _IMAGES, "data.dataset", given=READING, read_by=is_own),
    # The network.
    RecipeFlag("input_image_size", int, "Side of the square input in pixels.", _IMAGES, "network.", given=READING),
    RecipeFlag("width_coefficient", float, "Factor on the baseline's channels.", _RUNS, "network.", **_OF_CHECKPOINTS),
    RecipeFlag("depth_coefficient", float, "Factor on the baseline's repeats.", _RUNS, "network.", **_OF_CHECKPOINTS),
    RecipeFlag("dropout_rate", float, "Fraction of features dropped before the classifier.", _RUNS, "network."),
    RecipeFlag("survival_prob", float, "Probability that the last residual block is kept.", _RUNS, "network."),
    RecipeFlag("batch_norm_momentum", float, "Fraction of the old average kept per update.", _RUNS, "network."),
    RecipeFlag("batch_norm_epsilon", float, "Added to the variance.", _RUNS, "network.", **_OF_CHECKPOINTS),
    RecipeFlag("sync_batch_norm", bool, "Batch statistics over all replicas; slower.", _RUNS, "network."),
    RecipeFlag("preprocessing", PREPROCESSINGS, "Normalisation of pixels.", _RUNS, "network.", given=READING),
    RecipeFlag("classifier_init_scale", float, "Factor on the classifier's initial weights.", _RUNS, "network."),
    RecipeFlag("zero_init_residual", bool, "Residual blocks start as the identity.", _RUNS, "network."),
    RecipeFlag("stem_strides", int, "Stride of the first convolution.", _RUNS, "network.", **_OF_CHECKPOINTS),
    # The data.
    RecipeFlag(
        "num_label_classes", int, "Number of classes, if it cannot be counted.", _IMAGES, "data.", given=READING
    ),
    RecipeFlag("num_train_images", int, "Images in one epoch, if they cannot be counted.", _IMAGES, "data."),
    RecipeFlag(
        "num_eval_images",
        int,
        "Images of an evaluation, if they cannot be counted.",
        _IMAGES,
        "data.",
        given=("eval",),
        read_by=is_own,
    ),
    RecipeFlag("train_crop", TRAIN_CROPS, "How training images are cropped.", _IMAGES, "data."),
    RecipeFlag(
        "eval_crop",
        EVAL_CROPS,
        "Central square of evaluation images.",
        _RUNS,
        "data.",
        given=READING,
        read_by=is_not_cropped,
    ),
    RecipeFlag("flip", bool, "Mirror training images with probability 1/2.", _IMAGES, "data."),
    RecipeFlag("resize", RESIZES, "Bicubic as in TF1, or bilinear as in PIL.", _IMAGES, "data.", given=READING),
    RecipeFlag(
        "augment_name", AUGMENTATIONS, "Augmentation of training images, after crop and flip.", _IMAGES, "data."
    ),
    RecipeFlag("randaug_num_layers", int, "RandAugment's operations per image.", _IMAGES, "data."),
    RecipeFlag("randaug_magnitude", int, "RandAugment's level; 10 is AutoAugment's highest.", _IMAGES, "data."),
    RecipeFlag("augment_pixel_scale", float, "Factor on lengths in augmentation; 1: for 224 px.", _IMAGES, "data."),
    RecipeFlag("mixup_alpha", float, "Parameter of MixUp's Beta distribution; 0: off.", _RUNS, "data."),
    RecipeFlag("cutmix_alpha", float, "Parameter of CutMix's Beta distribution; 0: off.", _RUNS, "data."),
    RecipeFlag(
        "holdout_shards",
        int,
        "Evaluate on this many of the training files, and do not train on them.",
        _IMAGES,
        "data.",
        given=("eval",),
        read_by=is_own,
    ),
    RecipeFlag("train_images_per_class", int, "Train on the first N images of each class.", _IMAGES, "data."),
    # The attack that makes the training images adversarial.
    RecipeFlag("attack", METHODS, "Training attack; none: no perturbation, an ablation.", _RUNS, "attack.method"),
    RecipeFlag("attack_norm", NORMS, "Norm of epsilon and step size.", _RUNS, "attack.norm"),
    RecipeFlag("attack_epsilon", float, "Radius in pixels of [0, 255].", _RUNS, "attack.epsilon_px"),
    RecipeFlag("attack_step_size", float, "Length of a step in pixels of [0, 255].", _RUNS, "attack.step_size_px"),
    RecipeFlag("attack_steps", int, "Number of steps.", _RUNS, "attack.num_steps"),
    RecipeFlag(
        "attack_random_start", bool, "Start at a random point, not at the clean image.", _RUNS, "attack.random_start"
    ),
    RecipeFlag(
        "attack_start_std",
        float,
        "Standard deviation in pixels of a normal random start; 0: uniform in the ball.",
        _RUNS,
        "attack.start_std_px",
    ),
    RecipeFlag(
        "attack_target", TARGETS, "Increase the label's loss, or decrease a random class's.", _RUNS, "attack.target"
    ),
    RecipeFlag(
        "attack_bn", BATCH_NORM_MODES, "Batch norm statistics that the attack uses.", _RUNS, "attack.batch_norm_mode"
    ),
    # The scheme's terms.
    RecipeFlag("clean_weight", float, "Weight of the loss on clean images.", _RUNS, "term_weights.clean"),
    RecipeFlag(
        "adversarial_weight", float, "Weight of the loss on adversarial images.", _RUNS, "term_weights.adversarial"
    ),
    RecipeFlag(
        "augmented_weight", float, "Weight of the augmented images of fine_grained.", _RUNS, "term_weights.augmented"
    ),
    RecipeFlag("noise_weight", float, "Weight of the start images of fast_advprop.", _RUNS, "term_weights.noise"),
    RecipeFlag(
        "clean_from_epoch", float, "Epoch of adversarial_then_clean's switch to clean.", _RUNS, "clean_from_epoch"
    ),
    RecipeFlag("fast_adversarial_share", float, "Fraction that fast_advprop attacks.", _RUNS, "fast_adversarial_share"),
    # The optimizer.
    RecipeFlag("optimizer", OPTIMIZERS, "Optimizer; rmsprop as in TF1.", _RUNS, "optimizer."),
    RecipeFlag("base_learning_rate", float, "Peak learning rate per 256 clean images.", _RUNS, "optimizer."),
    RecipeFlag("lr_schedule", SCHEDULES, "Learning rate schedule.", _RUNS, "optimizer."),
    RecipeFlag(
        "lr_decay_epoch", float, "Epochs between drops of the exponential schedule.", _RUNS, "optimizer.lr_decay_epochs"
    ),
    RecipeFlag("lr_step_epochs", tuple[float, ...], "Epochs at which the step schedule drops.", _RUNS, "optimizer."),
    RecipeFlag("lr_decay_factor", float, "Factor of each drop of the learning rate.", _RUNS, "optimizer."),
    RecipeFlag("lr_warmup_epochs", float, "Epochs of linear warm-up from 0.", _RUNS, "optimizer."),
    RecipeFlag("momentum", float, "Momentum of the optimizers rmsprop and momentum.", _RUNS, "optimizer."),
    RecipeFlag("weight_decay", float, "Factor on half the squared norm of the weights.", _RUNS, "optimizer."),
    RecipeFlag("decay_batch_norm", bool, "Decay gamma and beta of batch norms too.", _RUNS, "optimizer."),
    RecipeFlag("moving_average_decay", float, "Decay of the averaged weights; 0: no average.", _RUNS, "optimizer."),
    # The run.
    RecipeFlag("train_batch_size", int, "Clean images per step, over all replicas.", _RUNS, "train_batch_size"),
    RecipeFlag("train_epochs", float, "Length of the run in epochs.", _RUNS, "train_epochs"),
    RecipeFlag("train_steps", int, "Length of the run in steps, instead of epochs.", _RUNS, "train_steps"),
    RecipeFlag("init_checkpoint", str, "Weights to start from or to read.", _RUN, "init_checkpoint", given=READING),
    RecipeFlag("ema", bool, "Read averaged weights; --noema: the raw ones.", _RUN, "init_ema", **_OF_CHECKPOINTS),
    RecipeFlag("label_smoothing", float, "Label smoothing of every term's cross-entropy.", _RUNS, "label_smoothing"),
    RecipeFlag("micro_batches", int, "Pieces of each replica's batch, to save memory.", _RUNS, "micro_batches"),
    RecipeFlag(
        "seed",
        int,
        "Seed of initial weights, order of images, augmentation, attacks and dropout.",
        _RUN_OR_CHECK,
        "seed",
        given=("eval",),
        instead_in_study="seeds",
        read_by=is_attacked,
    ),
    # Logging, checkpoints, evaluation.
    RecipeFlag("iterations_per_loop", int, "Steps on the device between two log lines.", _LOOP, "cadence."),
    RecipeFlag("steps_per_eval", int, "Steps between two evaluations.", ("train_and_eval",), "cadence."),
    RecipeFlag("steps_per_checkpoint", int, "Largest number of steps between checkpoints.", _LOOP, "cadence."),
    RecipeFlag(
        "eval_batch_size",
        int,
        "Images per evaluation step, over all replicas.",
        ("train_and_eval", "eval", "predict", "study"),
        "cadence.",
        given=("eval", "predict"),
    ),
    RecipeFlag(
        "eval_branch",
        str,
        "Branch that selects the best checkpoint, and that evaluation attacks.",
        ("train_and_eval", "eval"),
        "cadence.",
        given=("eval",),
        saved_model=False,
        read_by=is_attacked,
    ),
    RecipeFlag("keep_checkpoint_max", int, "Number of newest checkpoints to keep.", _LOOP, "cadence."),
)

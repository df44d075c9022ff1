"""All flags of `main.py`: those of the recipe, and those of mode, files and devices.

Flags that the official trainer has too (models/official/efficientnet/main.py) have its names and meanings.
"""

from efficientnet_advprop.recipes import BENCHMARKS, ROBUSTNESS_RESIZES, SUCCESSES
from efficientnet_advprop.recipes.attack_spec import NORMS
from efficientnet_advprop.recipes.run_options import BAD_IMAGES, EXPORT_FORMATS
from flags.flag import MODES, READING, TRAINING, Flag, is_attacked, is_cropped, is_made, is_own
from flags.recipe_flags import RECIPE_FLAGS

_LOOP = (*TRAINING, "study")
_DEVICES = (*_LOOP, *READING)
_EXPORT = ("train_and_eval", "export")
_EVAL, _STUDY, _COMPARE, _EVAL_OR_STUDY = ("eval",), ("study",), ("compare",), ("eval", "study")
_RUN_OR_CHECK = (*TRAINING, *READING, "check_data")
_IMAGES = (*_LOOP, "eval", "check_data")
_OF_BENCHMARKS = {"needs_benchmarks": True}
_PGD = {**_OF_BENCHMARKS, "read_by": is_attacked}

FLAGS: tuple[Flag, ...] = (
    Flag("mode", MODES, "What to do; train_and_eval if absent.", MODES),
    Flag("advprop", bool, "Short for --scheme=advprop.", _RUN_OR_CHECK, instead_in_study="schemes"),
    # Studies and comparisons.
    Flag("schemes", list[str], "Schemes that a study compares, vanilla among them.", _STUDY),
    Flag("models", list[str], "Networks of a study; efficientnet-b0 if absent.", _STUDY),
    Flag("seeds", int, "Number of runs of each scheme in a study, with seeds 0, 1, ...; 3 if absent.", _STUDY),
    Flag("attack_epsilons", tuple[float, ...], "Strengths of the training attack in a study, in pixels.", _STUDY),
    Flag("compare", list[str], "Evaluated runs to compare: folders of runs, evaluations or studies.", _COMPARE),
    Flag("published", bool, "Add a table of the paper's results of the compared networks.", _COMPARE),
    # Benchmarks.
    Flag(
        "benchmarks",
        list[str],
        f"Benchmarks that eval measures and reports, and a study of each run: {', '.join(BENCHMARKS)}.",
        _EVAL_OR_STUDY,
    ),
    Flag(
        "corruptions",
        list[str],
        "Corruptions made on the fly; ImageNet-C's fifteen if absent, in a study six.",
        _EVAL_OR_STUDY,
        **_OF_BENCHMARKS,
        read_by=is_made,
        benchmark_field="corruptions",
    ),
    Flag(
        "benchmark_dir",
        dict[str, str],
        "NAME=FOLDER of an ImageNet test set; may be repeated.",
        _EVAL,
        **_OF_BENCHMARKS,
    ),
    Flag(
        "robustness_resize",
        ROBUSTNESS_RESIZES,
        "Show benchmark images of 224 px at the network's input size (model), or at 224 px (native); model if absent.",
        _EVAL,
        **_OF_BENCHMARKS,
        read_by=is_cropped,
        benchmark_field="resize",
    ),
    Flag(
        "pgd_norm",
        NORMS,
        "Norm of the pgd benchmark; linf if absent.",
        _EVAL_OR_STUDY,
        **_PGD,
        benchmark_field="norm",
    ),
    Flag(
        "pgd_epsilons",
        tuple[float, ...],
        "Radii of the pgd benchmark in pixels.",
        _EVAL_OR_STUDY,
        **_PGD,
        benchmark_field="epsilons_px",
    ),
    Flag(
        "pgd_steps",
        int,
        "Steps of the pgd benchmark; 10 if absent.",
        _EVAL_OR_STUDY,
        **_PGD,
        benchmark_field="num_steps",
    ),
    Flag(
        "pgd_restarts",
        int,
        "Starts of the pgd benchmark; 1 if absent.",
        _EVAL_OR_STUDY,
        **_PGD,
        benchmark_field="restarts",
    ),
    Flag(
        "pgd_success",
        SUCCESSES,
        "Point of the pgd benchmark that counts: any, or the last of one attack (absent in a study).",
        _EVAL_OR_STUDY,
        **_PGD,
        benchmark_field="success",
    ),
    Flag(
        "benchmark_images",
        int,
        "Evenly spaced images of each set; all if absent.",
        _EVAL_OR_STUDY,
        **_OF_BENCHMARKS,
        benchmark_field="num_images",
    ),
    Flag("evaluation_dir", str, "Folder of results; MODEL_DIR/evaluation if absent.", _EVAL, **_OF_BENCHMARKS),
    # Data.
    Flag(
        "data_dir",
        str,
        "Data folder (local or gs://): official TFRecords, class folders, or the data_dir of TFDS.",
        _IMAGES,
        read_by=is_own,
    ),
    Flag(
        "bad_images",
        BAD_IMAGES,
        "An image that cannot be read ends the run (error), or is counted and left out (skip); error if absent.",
        (*_LOOP, "eval"),
    ),
    Flag("deterministic", bool, "Resume on TFRecords at the exact image; slower.", _LOOP),
    Flag("use_cache", bool, "Keep the undecoded training images of TFRecords in memory.", _LOOP),
    # Folders and files.
    Flag(
        "model_dir",
        str,
        "Output folder (local or gs://); runs/DATASET-MODEL-SCHEME, runs/study-DATASET or runs/comparison if absent.",
        MODES,
    ),
    Flag("export_dir", str, "Parent folder of the exported versions; MODEL_DIR/saved_model if absent.", _EXPORT),
    Flag(
        "export_format",
        EXPORT_FORMATS,
        "Format of the export; saved_model if absent, the others are written to EXPORT_DIR/FORMAT.",
        ("export",),
    ),
    Flag("export_branch", str, "Branch whose batch norms are exported; main if absent.", _EXPORT),
    Flag("checkpoint", ("last", "best"), "Which checkpoint of a run to read; last if absent.", READING),
    Flag(
        "allow_extra_variables",
        bool,
        "Accept unknown variables in an official checkpoint.",
        (*TRAINING, *READING),
        saved_model=False,
    ),
    Flag("images", str, "Pattern of the images to predict or to compare an export on.", ("predict", "export")),
    Flag("output", str, "File for the raw logits of predict, in NumPy's format.", ("predict",)),
    # Devices.
    Flag("strategy", str, "Strategy: auto, tpu, multi_worker, mirrored or one_device; auto if absent.", _DEVICES),
    Flag("tpu", str, "TPU name or grpc:// address, or local on a TPU VM.", _DEVICES),
    Flag("tpu_zone", str, "Zone of the TPU.", _DEVICES),
    Flag("gcp_project", str, "Project of the TPU.", _DEVICES),
    Flag("use_bfloat16", bool, "Compute in bfloat16; if absent, on a TPU only.", _DEVICES, saved_model=False),
    Flag("remat", bool, "Recompute each block's activations in the backward pass, to save memory.", _LOOP),
    *RECIPE_FLAGS,
)

"""All flags of `main.py`: those of the recipe, and those of mode, files and devices.

Flags that the official trainer has too (models/official/efficientnet/main.py) have its names and meanings.
"""

from pathlib import Path

from efficientnet_advprop.recipes import BENCHMARKS, ROBUSTNESS_RESIZES, SUCCESSES, VISUALIZATIONS
from efficientnet_advprop.recipes.attack_spec import NORMS
from efficientnet_advprop.recipes.run_options import BAD_IMAGES, EXPORT_FORMATS, PRECISIONS
from flags.flag import (
    LOOP,
    MODES,
    READING,
    RUN,
    RUN_CHECK_OR_PLAN,
    RUNS,
    RUNS_OR_PLAN,
    TRAINING,
    Flag,
    Topic,
    by_topic,
    is_attacked,
    is_cropped,
    is_made,
    is_own,
    is_tuned,
)
from flags.recipe_flags import RECIPE_FLAGS

_EVAL, _STUDY, _COMPARE, _PLAN, _EXPORT = ("eval",), ("study",), ("compare",), ("plan",), ("train_and_eval", "export")
_VISUALIZE = ("visualize",)
_WRITING = tuple(mode for mode in MODES if mode not in _PLAN)
_IMAGES = (*LOOP, "eval", "check_data", "visualize")
_MODEL_DIR = "runs/DATASET-MODEL-SCHEME, runs/study-DATASET or runs/comparison"
# Flags of benchmarks: evaluations and studies measure these, and only evaluations those on other images.
_MEASURED = {"modes": (*_EVAL, *_STUDY), "needs_benchmarks": True}
_BALL = {**_MEASURED, "read_by": is_attacked}
_PGD = {**_MEASURED, "read_by": is_tuned}
_OTHER_IMAGES = {"modes": _EVAL, "needs_benchmarks": True}

FLAGS: tuple[Flag, ...] = by_topic(
    Topic.WHAT,
    Flag("mode", MODES, "What to do; train_and_eval if absent.", MODES),
    Flag("advprop", bool, "Short for --scheme=advprop.", RUN_CHECK_OR_PLAN, instead_in_study="schemes"),
    Flag(
        "print_recipe",
        bool,
        "Print the recipe as a command with every value as a flag; nothing is trained.",
        (*TRAINING, *_PLAN),
    ),
    Topic.STUDIES,
    Flag("schemes", list[str], "Schemes that a study compares, vanilla among them.", _STUDY),
    Flag("models", list[str], "Networks of a study; efficientnet-b0 if absent.", _STUDY),
    Flag("seeds", int, "Number of runs of each scheme in a study, with seeds 0, 1, ...; 3 if absent.", _STUDY),
    Flag(
        "attack_epsilons",
        tuple[float, ...],
        "Strengths of the training attack in a study, in pixels: 8 is 8/255 in other code.",
        _STUDY,
    ),
    Flag(
        "compare",
        list[Path],
        "Evaluated runs to compare: folders of runs, evaluations or studies; runs to visualize beside the first.",
        (*_COMPARE, *_VISUALIZE),
    ),
    Flag("published", bool, "Add a table of the paper's results of the compared networks.", _COMPARE),
    Topic.FIGURES,
    Flag("visualize", list[str], f"What to draw: {', '.join(VISUALIZATIONS)}; all if absent.", _VISUALIZE),
    Flag("visualize_images", int, "Images in a row; 8 if absent.", _VISUALIZE),
    Flag("visualize_classes", list[str], "Classes to generate; evenly spaced ones if absent.", _VISUALIZE),
    Topic.PLANS,
    Flag(
        "devices",
        list[str],
        "Machines of a plan: TPUs by their names (v3-32), GPUs by number (a100-80x8); one of each kind if absent.",
        _PLAN,
    ),
    Flag("utilisation", float, "Part of the peak rate that a plan counts on; what others reached if absent.", _PLAN),
    Flag("json", bool, "Print the plan as one JSON object.", _PLAN),
    Topic.ROBUSTNESS,
    Flag("benchmarks", list[str], f"Benchmarks of eval or a study: {', '.join(BENCHMARKS)}.", (*_EVAL, *_STUDY)),
    Flag(
        "corruptions",
        list[str],
        "Corruptions made on the fly; ImageNet-C's fifteen if absent, in a study six.",
        **_MEASURED,
        read_by=is_made,
        benchmark_field="corruptions",
    ),
    Flag("benchmark_dir", dict[str, Path], "NAME=FOLDER of an ImageNet test set; may be repeated.", **_OTHER_IMAGES),
    Flag(
        "robustness_resize",
        ROBUSTNESS_RESIZES,
        "Benchmark images of 224 px at the network's input size (model), or at 224 px (native); model if absent.",
        **_OTHER_IMAGES,
        read_by=is_cropped,
        benchmark_field="resize",
    ),
    Flag("pgd_norm", NORMS, "Norm of the balls of attacks; linf if absent.", **_BALL, benchmark_field="norm"),
    Flag(
        "pgd_epsilons",
        tuple[float, ...],
        "Radii of the balls of attacks in pixels of [0, 255]: 8 is 8/255 in other code.",
        **_BALL,
        benchmark_field="epsilons_px",
    ),
    Flag("pgd_steps", int, "Steps of the pgd benchmark; 10 if absent.", **_PGD, benchmark_field="num_steps"),
    Flag("pgd_restarts", int, "Starts of the pgd benchmark; 1 if absent.", **_PGD, benchmark_field="restarts"),
    Flag("pgd_success", SUCCESSES, "Point that counts: any, or one attack's last.", **_PGD, benchmark_field="success"),
    Flag(
        "benchmark_images",
        int,
        "Evenly spaced images of each set; all if absent.",
        **_MEASURED,
        benchmark_field="num_images",
    ),
    Flag("evaluation_dir", Path, "Folder of results; MODEL_DIR/evaluation if absent.", **_OTHER_IMAGES),
    Topic.DATA,
    Flag("data_dir", Path, "Data folder, local or gs://: TFRecords, class folders or TFDS's.", _IMAGES, read_by=is_own),
    Flag(
        "bad_images",
        BAD_IMAGES,
        "An image that cannot be read ends the run (error), or is counted and left out (skip); error if absent.",
        (*LOOP, "eval", "visualize"),
    ),
    Flag("deterministic", bool, "Resume on TFRecords at the exact image; slower.", LOOP),
    Flag("use_cache", bool, "Keep the undecoded training images of TFRecords in memory.", LOOP),
    Topic.WEIGHTS,
    Flag("checkpoint", ("last", "best"), "Which checkpoint of a run to read; last if absent.", READING),
    Flag("allow_extra_variables", bool, "Accept unknown variables in published weights.", RUN, saved_model=False),
    Flag("cache_dir", Path, "Cache of weights; ~/.cache/efficientnet_advprop if absent.", RUN, saved_model=False),
    Flag("offline", bool, "Download no weights.", RUN, saved_model=False),
    Topic.WHAT,
    Flag("model_dir", Path, f"Output folder (local or gs://); {_MODEL_DIR} if absent.", _WRITING),
    Topic.EXPORTS,
    Flag("export_dir", Path, "Parent folder of the exported versions; MODEL_DIR/saved_model if absent.", _EXPORT),
    Flag("export_format", EXPORT_FORMATS, "Format; saved_model if absent, others: EXPORT_DIR/FORMAT.", ("export",)),
    Flag("export_branch", str, "Branch whose batch norms are exported; main if absent.", _EXPORT),
    Flag(
        "images",
        Path,
        "Pattern of the images to predict, to visualize, or to compare an export on.",
        ("predict", "export", "visualize"),
    ),
    Flag("output", Path, "File for the raw logits of predict, in NumPy's format.", ("predict",)),
    Topic.HARDWARE,
    Flag("strategy", str, "Strategy: auto, tpu, multi_worker, mirrored or one_device; auto if absent.", RUNS),
    Flag("tpu", str, "TPU name or grpc:// address, or local on a TPU VM.", RUNS),
    Flag("tpu_zone", str, "Zone of the TPU.", RUNS),
    Flag("gcp_project", str, "Project of the TPU.", RUNS),
    Flag(
        "precision",
        PRECISIONS,
        "Arithmetic of the layers; if absent, bfloat16 on a TPU and float32 elsewhere (in a plan the fastest).",
        RUNS_OR_PLAN,
        saved_model=False,
    ),
    Flag(
        "use_bfloat16",
        bool,
        "Short for --precision=bfloat16; --nouse_bfloat16: float32.",
        RUNS_OR_PLAN,
        saved_model=False,
    ),
    Flag("remat", bool, "Recompute each block's activations in the backward pass, to save memory.", LOOP),
    Flag("jit_compile", bool, "Compile the gradients of each pass with XLA, on GPU or CPU.", LOOP),
)
FLAGS += RECIPE_FLAGS

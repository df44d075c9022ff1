"""Where and how a recipe runs."""

import dataclasses

from efficientnet_advprop.recipes.benchmark_spec import BenchmarkSpec

BAD_IMAGES = ("error", "skip")
EXPORT_FORMATS = ("saved_model", "hub", "tflite", "onnx")


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """How images are read.

    Attributes:
        bad_images: an image that cannot be read ends the run ("error"), or is counted and left out ("skip": another
            image of its training batch stands in for it, evaluation divides by the others).
        deterministic: resume a run on TFRecords at the image it stopped at, at the price of reading all undecoded
            ones before it; under several hosts each then reads every file. Other sources always resume so.
        use_cache: keep the undecoded training images of TFRecords in memory after the first epoch.
    """

    bad_images: str = "error"
    deterministic: bool = False
    use_cache: bool = False


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where and how a recipe runs; none of it is compared on resume, so that a run can move to other devices.

    Attributes:
        mode: what to do, one of `flags.MODES`.
        model_dir: the run's folder.
        data_dir: the data set's folder, if it has one.
        export_dir: parent of the exported versions.
        export_format: one of `EXPORT_FORMATS`.
        export_branch: whose batch norms are exported.
        checkpoint: "last" or "best": what eval, predict and export read from a run.
        init_checkpoint: weights from elsewhere, to start from or to read.
        ema: read averaged weights, not raw ones.
        allow_extra_variables: accept unknown variables in an official checkpoint.
        images: pattern of the images to predict, or to compare an export on.
        output: file for their logits.
        strategy: devices, as `tpu_utils.connect` takes it.
        tpu: TPU name, address or "local".
        tpu_zone: zone of the TPU.
        gcp_project: project of the TPU.
        use_bfloat16: None is on with a TPU and off elsewhere.
        asks_for_export: whether a flag names an export's folder or branch.
        remat: recompute activations in the backward pass.
        input: how images are read.
        benchmarks: what eval measures, with a report, or a study of each run; None is the run's own accuracies,
            printed.
        evaluation_dir: folder of their results.
        command: the command line, for reports.
    """

    mode: str
    model_dir: str
    data_dir: str | None
    export_dir: str
    export_format: str
    export_branch: str
    checkpoint: str
    init_checkpoint: str | None
    ema: bool
    allow_extra_variables: bool
    images: str | None
    output: str | None
    strategy: str
    tpu: str | None
    tpu_zone: str | None
    gcp_project: str | None
    use_bfloat16: bool | None
    asks_for_export: bool
    remat: bool
    input: InputOptions = InputOptions()
    benchmarks: BenchmarkSpec | None = None
    evaluation_dir: str = ""
    command: str = ""

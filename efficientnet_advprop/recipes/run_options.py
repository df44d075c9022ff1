"""Where and how a recipe runs."""

import dataclasses
import os

from efficientnet_advprop.recipes.benchmark_spec import BenchmarkSpec

BAD_IMAGES = ("error", "skip")
EXPORT_FORMATS = ("saved_model", "hub", "tflite", "onnx")


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """How images are read.

    Attributes:
        bad_images: an image that cannot be read ends the run ("error"), or is counted and left out ("skip": another
            image of its training batch takes its place, evaluation divides by the number of the others).
        deterministic: resume a run on TFRecords at the image it stopped at. It costs reading all images before it, not
            decoded; under several hosts each then reads every file. Other sources always resume so.
        use_cache: keep the undecoded training images of TFRecords in memory after the first epoch.
    """

    bad_images: str = "error"
    deterministic: bool = False
    use_cache: bool = False


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where and how a recipe runs; none of it is compared on resume, so that a run can move to other devices.

    Attributes:
        model_dir: the run's folder.
        data_dir: the data set's folder, if it has one.
        export_dir: parent of the exported versions; None is in the run's folder.
        export_format: one of `EXPORT_FORMATS`.
        export_branch: whose batch norms are exported; None is the main branch.
        checkpoint: "last" or "best": what eval, predict and export read from a run.
        ema: read averaged weights, not raw ones.
        allow_extra_variables: accept unknown variables in an official checkpoint.
        images: pattern of the images to predict, or to compare an export on.
        output: file for their logits.
        strategy: devices, as `tpu_utils.connect` takes it.
        tpu: TPU name, address or "local".
        tpu_zone: zone of the TPU.
        gcp_project: project of the TPU.
        use_bfloat16: None is on with a TPU and off elsewhere.
        remat: recompute activations in the backward pass.
        input: how images are read.
        benchmarks: what eval measures, with a report, or a study of each run; None is the run's own accuracies,
            printed.
        evaluation_dir: folder of their results.
        command: the command line, for reports.
    """

    model_dir: str
    data_dir: str | None = None
    export_dir: str | None = None
    export_format: str = "saved_model"
    export_branch: str | None = None
    checkpoint: str = "last"
    ema: bool = True
    allow_extra_variables: bool = False
    images: str | None = None
    output: str | None = None
    strategy: str = "auto"
    tpu: str | None = None
    tpu_zone: str | None = None
    gcp_project: str | None = None
    use_bfloat16: bool | None = None
    remat: bool = False
    input: InputOptions = InputOptions()
    benchmarks: BenchmarkSpec | None = None
    evaluation_dir: str = ""
    command: str = ""

    @property
    def export_folder(self) -> str:
        """Parent of the exported versions."""
        return self.export_dir or os.path.join(self.model_dir, "saved_model")

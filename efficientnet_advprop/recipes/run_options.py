"""The options of a run that are not part of its recipe: files, devices, input pipeline."""

import dataclasses
import os

from efficientnet_advprop.recipes.benchmark_spec import BenchmarkSpec
from efficientnet_advprop.recipes.visualization_spec import VisualizationSpec

BAD_IMAGES = ("error", "skip")
PRECISIONS = ("float32", "bfloat16", "float16")
EXPORT_FORMATS = ("saved_model", "hub", "tflite", "onnx")


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """How images are read.

    Attributes:
        bad_images: what an image that cannot be read does: "error" ends the run; "skip" counts it and leaves it out
            (in training another image of the batch replaces it, and evaluation averages over the other images).
        deterministic: resume a run on TFRecords at the exact image. All earlier images are then read again (not
            decoded), and every host reads every file. Other sources always resume exactly.
        use_cache: keep the undecoded training images of TFRecords in memory after the first epoch.
    """

    bad_images: str = "error"
    deterministic: bool = False
    use_cache: bool = False


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Files, devices and input pipeline of a run; not compared on resume, so a run can move to other devices.

    Attributes:
        model_dir: the run's folder.
        data_dir: the data set's folder, if it has one.
        export_dir: parent folder of the exported versions; None is `saved_model` in model_dir.
        export_format: one of `EXPORT_FORMATS`.
        export_branch: the branch whose batch norms are exported; None is the main branch.
        checkpoint: "last" or "best": the checkpoint of a run that eval, predict, export and visualize read.
        ema: whether to read averaged weights, or raw ones.
        allow_extra_variables: accept unknown variables in an official checkpoint.
        images: pattern of the images to predict or to visualize, or to compare the exported network on.
        output: file for the logits of predict.
        strategy: devices, as in `tpu_utils.connect`.
        tpu: TPU name, address or "local".
        tpu_zone: zone of the TPU.
        gcp_project: project of the TPU.
        precision: of the layers' arithmetic, one of `PRECISIONS`; None is bfloat16 on a TPU and float32 elsewhere.
        remat: recompute activations in the backward pass.
        jit_compile: compile the gradients of each training pass with XLA.
        input: how images are read.
        benchmarks: the benchmarks that eval measures and reports, or a study of each run; None prints the accuracies of
            the run only.
        evaluation_dir: folder of the benchmarks' results.
        visualization: what visualize draws.
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
    precision: str | None = None
    remat: bool = False
    jit_compile: bool = False
    input: InputOptions = InputOptions()
    benchmarks: BenchmarkSpec | None = None
    evaluation_dir: str = ""
    visualization: VisualizationSpec = VisualizationSpec()
    command: str = ""

    @property
    def export_folder(self) -> str:
        """Parent folder of the exported versions."""
        return self.export_dir or os.path.join(self.model_dir, "saved_model")

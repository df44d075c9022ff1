"""Export in any of the formats, as the next version."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

from efficientnet_advprop.export.hub import write_hub_modules
from efficientnet_advprop.export.other_runtimes import write_onnx, write_tflite
from efficientnet_advprop.export.saved_model import write_saved_model
from efficientnet_advprop.export.served import ServedNetwork
from efficientnet_advprop.export.versions import new_version
from efficientnet_advprop.recipes import MAIN_BRANCH, RecipeError

# Each writes into a folder; those that change the computation return the comparison with the SavedModel.
_WRITERS: dict[str, Callable[[ServedNetwork, str], Sequence[dict[str, Any]] | None]] = {
    "saved_model": write_saved_model,
    "hub": write_hub_modules,
    "tflite": write_tflite,
    "onnx": write_onnx,
}
_PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime")}


def require_packages(export_format: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        RecipeError: naming them and how to get them.
    """
    missing = [name for name in _PACKAGES.get(export_format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"--export_format={export_format} needs {', '.join(missing)}: "
            f"pip install '.[{export_format}]' -c constraints.txt"
        )


def export_network(
    served: ServedNetwork, export_format: str, export_dir: str
) -> tuple[str, Sequence[dict[str, Any]] | None]:
    """Write the next version of a network.

    SavedModels of the main branch go to `export_dir/VERSION`, where TensorFlow Serving takes up the highest number. All
    else goes to folders of its own, `export_dir/FORMAT/VERSION` and `export_dir/BRANCH/VERSION`: it cannot load other
    formats, and must not start to answer through other batch norms.

    Returns:
        The versioned folder, and for the formats of other runtimes what the comparison with the SavedModel found.

    Raises:
        ExportError: when what was written is not what was to be; nothing is left of it.
    """
    branch = served.description.branch
    folders = [name for name, usual in ((export_format, "saved_model"), (branch, MAIN_BRANCH)) if name != usual]
    parent = os.path.join(export_dir, *folders)
    with new_version(parent) as (folder, version):
        comparison = _WRITERS[export_format](served, folder)
    return version, comparison

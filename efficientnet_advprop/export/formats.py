"""Export in any of the formats, into the folder of the next version."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

from efficientnet_advprop.export.description import Description
from efficientnet_advprop.export.exported import read_description
from efficientnet_advprop.export.hub import write_hub_modules
from efficientnet_advprop.export.other_runtimes import write_onnx, write_tflite
from efficientnet_advprop.export.saved_model import write_saved_model
from efficientnet_advprop.export.served import ServedNetwork
from efficientnet_advprop.export.versions import new_version, versions_in
from efficientnet_advprop.locks import hold
from efficientnet_advprop.recipes import MAIN_BRANCH, RecipeError

# Each writes into a folder. The formats of other runtimes return a comparison with the SavedModel.
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
        RecipeError: when one is missing; the message says how to install them.
    """
    missing = [name for name in _PACKAGES.get(export_format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"--export_format={export_format} needs {', '.join(missing)}: pip install '.[{export_format}]'"
        )


def export_network(
    served: ServedNetwork, export_format: str, export_dir: str
) -> tuple[str, Sequence[dict[str, Any]] | None]:
    """Write the next version of a network.

    SavedModels of the main branch go to `export_dir/VERSION`, of which TensorFlow Serving loads the highest. Other
    formats go to `export_dir/FORMAT/VERSION`, because it cannot load them. Other branches go to
    `export_dir/BRANCH/VERSION`, because a server must not switch to their batch norms.

    Returns:
        The versioned folder, and for the formats of other runtimes the comparison with the SavedModel.

    Raises:
        ExportError: when the written files differ from the network; they are removed.
    """
    with new_version(_parent_of_versions(served.description, export_format, export_dir)) as (folder, version):
        comparison = _WRITERS[export_format](served, folder)
    return version, comparison


def exported_before(description: Description, export_format: str, export_dir: str) -> str | None:
    """The folder of the newest version of the same weights and branch, or None; what killed exports left is removed."""
    parent = _parent_of_versions(description, export_format, export_dir)
    ours = (description.checkpoint, description.weights, description.branch)
    with hold("export_dir", parent, wait=True):
        for version in sorted(versions_in(parent), reverse=True):
            folder = os.path.join(parent, str(version))
            with contextlib.suppress(RecipeError):  # not a description of this version
                theirs = read_description(folder)
                if (theirs.checkpoint, theirs.weights, theirs.branch) == ours:
                    return folder
    return None


def _parent_of_versions(description: Description, export_format: str, export_dir: str) -> str:
    own = ((export_format, "saved_model"), (description.branch, MAIN_BRANCH))
    return os.path.join(export_dir, *(name for name, default in own if name != default))

"""The libraries of corruptions, imported at their first use.

Their import takes about a second, and OpenCV needs libGL and GLib, which servers may lack. The corruptions of a study
need neither.
"""

from collections.abc import Iterable
from types import ModuleType

from efficientnet_advprop.recipes import STUDY_BENCHMARKS, RecipeError


def require_libraries(names: Iterable[str]) -> None:
    """Import the libraries of these corruptions, so that a missing one does not end an evaluation in the middle.

    Raises:
        RecipeError: when a library cannot be imported.
    """
    if set(names) <= set(STUDY_BENCHMARKS.corruptions):
        return
    try:
        opencv()
        imagecorruptions()
    except ImportError as error:
        raise RecipeError(f"corruptions need OpenCV, which needs libGL and GLib of the system: {error}") from error


def opencv() -> ModuleType:
    """Filters and warps for images of any size."""
    import cv2

    return cv2


def imagecorruptions() -> ModuleType:
    """Parts of the authors' code, from the fork imagecorruptions-imaug."""
    import imagecorruptions.corruptions

    return imagecorruptions.corruptions

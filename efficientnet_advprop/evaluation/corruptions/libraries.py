"""The libraries of corruptions, imported when a corruption first calls them.

They take about a second, and OpenCV needs the system's libGL and GLib, which a bare server may lack. The corruptions of
a study need neither.
"""

from collections.abc import Iterable
from types import ModuleType

from efficientnet_advprop.recipes import STUDY_BENCHMARKS, RecipeError


def require_libraries(names: Iterable[str]) -> None:
    """Refuse corruptions that would end in the middle of an evaluation.

    Args:
        names: of the corruptions.

    Raises:
        RecipeError: when a library that one needs cannot be imported.
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
    """The authors' parts of corruptions, as the fork imagecorruptions-imaug keeps them."""
    import imagecorruptions.corruptions

    return imagecorruptions.corruptions

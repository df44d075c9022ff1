"""The libraries of corruptions, imported when a corruption first calls them.

They take about a second, and OpenCV needs the system's libGL and GLib, which a bare server may lack. The corruptions of
a study do without.
"""

from types import ModuleType

from efficientnet_advprop.recipes import RecipeError


def require_libraries() -> None:
    """Refuse what would end in the middle of an evaluation.

    Raises:
        RecipeError: when a library cannot be imported.
    """
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

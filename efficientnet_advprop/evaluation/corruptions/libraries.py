"""The libraries of corruptions, imported when a corruption first calls them.

They take about a second, and OpenCV needs the system's libGL and GLib, which a bare server may lack. The corruptions of
a study do without.
"""

from types import ModuleType


def opencv() -> ModuleType:
    """Filters and warps for pictures of any size."""
    import cv2

    return cv2


def imagecorruptions() -> ModuleType:
    """The authors' parts of corruptions, as the fork imagecorruptions-imaug keeps them."""
    import imagecorruptions.corruptions

    return imagecorruptions.corruptions

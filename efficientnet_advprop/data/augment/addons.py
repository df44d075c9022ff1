"""The image operations of TensorFlow Addons; nothing else here imports Addons.

Importing it prints that its development has ended, which the README says already; other warnings still show.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended development", UserWarning)
    from tensorflow_addons.image import equalize, rotate, transform

__all__ = ["equalize", "rotate", "transform"]

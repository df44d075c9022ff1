"""The image operations of TensorFlow Addons; no other module imports Addons.

Its import warns that its development has ended, as the README says too. Only that warning is hidden.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended development", UserWarning)
    from tensorflow_addons.image import equalize as equalize, rotate as rotate, transform as transform

"""The one function of TensorFlow Addons that is used; no other module imports Addons.

Addons ended with TensorFlow 2.15 and Python 3.11. Where it is not installed, the same function is plain TensorFlow.
Its import warns that its development has ended; only that warning is hidden.
"""

import importlib.util
import warnings

if importlib.util.find_spec("tensorflow_addons") is None:
    from efficientnet_advprop.data.augment.plain_tensorflow import rotation as rotation
else:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended development", UserWarning)
        from tensorflow_addons.image import transform_ops
    rotation = transform_ops.angles_to_projective_transforms

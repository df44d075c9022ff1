"""Normalisation of a network's input."""

import tensorflow as tf

# Channel means and standard deviations of ImageNet's training images, in pixels (`efficientnet_builder.py`).
_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STDDEV = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def normalize(images: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Normalise pixels for the network's first layer.

    Args:
        images: float32 [B, H, W, 3] in [0, 255].
        preprocessing: "advprop" (to [-1, 1], as `eval_ckpt_main.py` does for the AdvProp weights, so that epsilon is
            the same in every channel) or "imagenet" (zero mean and unit variance in each channel over ImageNet).
    """
    if preprocessing == "advprop":
        return images * (2.0 / 255.0) - 1.0
    return (images - tf.constant(_IMAGENET_MEAN)) / tf.constant(_IMAGENET_STDDEV)

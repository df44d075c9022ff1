"""The signatures of a SavedModel for serving: from images in three formats to named classes, and to features."""

import tensorflow as tf

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export.checks import checked_pixels
from efficientnet_advprop.export.encoded_images import MAX_IMAGE_PIXELS, decoded_images
from efficientnet_advprop.export.served import ServedNetwork

TOP = 5

_FLOAT_IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
_UINT8_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
_ENCODED_IMAGES = tf.TensorSpec([None], tf.string, name="images")

INTERFACE = f"""\
Every signature takes any number N of `images`:

| signature | images | outputs |
|---|---|---|
| `serving_default` | float32 [N, H, W, 3], pixels in [0, 255] | those below |
| `serving_uint8` | uint8 [N, H, W, 3] | those below |
| `serving_bytes` | string [N]: JPEG, PNG, GIF or BMP; cropped and resized as in evaluation | those below |
| `features` | float32 [N, H, W, 3], pixels in [0, 255] | `features` [N, F]: pooled, before the classifier |

`logits` and `probabilities` float32 [N, K], `classes` int64 [N]; of the {TOP} most likely classes (fewer if there are
fewer classes) `top_classes` int64, `top_scores` float32 and `top_labels` string, each [N, {TOP}]. The labels are those
of `assets/labels.txt`. A request with invalid input (no images, NaN, images scaled to [0, 1], bytes that are not an
image, a file of more than {MAX_IMAGE_PIXELS:,} pixels) fails, and the message names the element."""


class ServingModule(tf.Module):
    """The variables and the serving functions of a network, without its Keras model.

    Keras would also save traced functions of every layer, which takes four times the time and size for B7.

    Args:
        served: the network.
        labels_path: file with one class name per line, in label order; it becomes an asset.
    """

    def __init__(self, served: ServedNetwork, labels_path: str) -> None:
        super().__init__()
        self.network_variables = served.model.weights_by_path()
        description = served.description
        num_classes = len(description.class_names)
        self.labels_file = tf.saved_model.Asset(labels_path)
        with tf.io.gfile.GFile(labels_path) as file:
            labels = file.read().splitlines()
        # Traced once, and called by all signatures.
        network = tf.function(served.outputs, input_signature=[_FLOAT_IMAGES], autograph=False)

        def predictions(images: tf.Tensor) -> dict[str, tf.Tensor]:
            _, logits = network(images)
            probabilities = tf.nn.softmax(logits)
            top_scores, top_classes = tf.math.top_k(probabilities, k=min(TOP, num_classes))
            top_classes = tf.cast(top_classes, tf.int64)
            return {
                "logits": logits,
                "probabilities": probabilities,
                "classes": tf.argmax(logits, axis=-1),
                "top_classes": top_classes,
                "top_scores": top_scores,
                # A constant and no table of the file: a table is a resource, which OpenVINO does not read.
                "top_labels": tf.gather(tf.constant(labels), top_classes),
            }

        def decoded(images: tf.Tensor) -> tf.Tensor:
            size = description.input_image_size
            return decoded_images(
                images,
                lambda image: preprocess_eval(image, size, description.eval_crop, description.resize),
                tf.TensorSpec([size, size, 3], tf.float32),
            )  # [N, size, size, 3]

        functions = {
            "serving_default": (lambda images: predictions(checked_pixels(images)), _FLOAT_IMAGES),
            "serving_uint8": (lambda images: predictions(checked_pixels(tf.cast(images, tf.float32))), _UINT8_IMAGES),
            "serving_bytes": (lambda images: predictions(decoded(images)), _ENCODED_IMAGES),
            "features": (lambda images: {"features": network(checked_pixels(images))[0]}, _FLOAT_IMAGES),
        }
        self.serving_functions = {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in functions.items()
        }
        self.description = tf.function(lambda: tf.constant(description.to_json()), input_signature=[], autograph=False)

"""Data: sources of images, preprocessing and augmentation, and the batches that training and evaluation read.

A source yields records and reads them; `pipeline` turns the records of any source into batches.
"""

from efficientnet_advprop.data.bad_images import bad_image_in, reason_without_ops
from efficientnet_advprop.data.catalog import check_options, find_source, open_source
from efficientnet_advprop.data.class_names import IMAGENET_CLASSES, class_names, named_synsets
from efficientnet_advprop.data.image_files import find_images, read_images
from efficientnet_advprop.data.imagenet_variants import ImagenetFiles, find_corrupted_sets, open_imagenet_variant
from efficientnet_advprop.data.pipeline import eval_dataset, evaluation_images, train_dataset, whole_pixels
from efficientnet_advprop.data.preprocessing import preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import Source

__all__ = [
    "IMAGENET_CLASSES",
    "ImagenetFiles",
    "Source",
    "bad_image_in",
    "check_options",
    "class_names",
    "eval_dataset",
    "evaluation_images",
    "find_corrupted_sets",
    "find_images",
    "find_source",
    "named_synsets",
    "open_imagenet_variant",
    "open_source",
    "preprocess_eval",
    "preprocess_train",
    "read_images",
    "reason_without_ops",
    "train_dataset",
    "whole_pixels",
]

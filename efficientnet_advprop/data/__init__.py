"""Data: sources of pictures, what is done to a picture, and the batches that training and evaluation read.

A source yields records and reads them; `pipeline` turns the records of any source into batches.
"""

from efficientnet_advprop.data.bad_pictures import bad_picture_in
from efficientnet_advprop.data.catalog import check_options, find_source, open_source
from efficientnet_advprop.data.class_names import IMAGENET_CLASSES, class_names
from efficientnet_advprop.data.imagenet_variants import IMAGENET_VARIANTS, find_imagenet_c, open_imagenet_variant
from efficientnet_advprop.data.pictures import find_pictures, read_pictures
from efficientnet_advprop.data.pipeline import eval_dataset, evaluation_pictures, train_dataset, whole_pixels
from efficientnet_advprop.data.preprocessing import preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import Source

__all__ = [
    "IMAGENET_CLASSES",
    "IMAGENET_VARIANTS",
    "Source",
    "bad_picture_in",
    "check_options",
    "class_names",
    "eval_dataset",
    "evaluation_pictures",
    "find_imagenet_c",
    "find_pictures",
    "find_source",
    "open_imagenet_variant",
    "open_source",
    "preprocess_eval",
    "preprocess_train",
    "read_pictures",
    "train_dataset",
    "whole_pixels",
]

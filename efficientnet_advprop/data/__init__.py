"""Data: sources of pictures, what is done to a picture, and the batches that training and evaluation read.

A source yields examples; `pipeline` turns the examples of any source into batches.
"""

from efficientnet_advprop.data.catalog import open_source
from efficientnet_advprop.data.class_names import class_names
from efficientnet_advprop.data.pictures import find_pictures, read_pictures
from efficientnet_advprop.data.pipeline import eval_dataset, train_dataset
from efficientnet_advprop.data.preprocessing import preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import Source

__all__ = [
    "Source",
    "class_names",
    "eval_dataset",
    "find_pictures",
    "open_source",
    "preprocess_eval",
    "preprocess_train",
    "read_pictures",
    "train_dataset",
]

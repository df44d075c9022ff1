"""Data: sources of pictures, what is done to a picture, and the batches that training and evaluation read.

A source yields examples; `pipeline` turns the examples of any source into batches.
"""

from efficientnet_advprop.data.catalog import open_source
from efficientnet_advprop.data.pipeline import eval_dataset, train_dataset
from efficientnet_advprop.data.preprocessing import preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import Source

__all__ = ["Source", "eval_dataset", "open_source", "preprocess_eval", "preprocess_train", "train_dataset"]

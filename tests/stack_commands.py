"""Commands on networks of two blocks, and exported networks, in a process of either stack.

`python -m tests.stack_commands COMMANDS EXPORTS`, both in JSON: lists of arguments of main.py; and for each export its
kind ("saved_model" or "hub"), its folder, a file of images in [0, 1] and the file for the logits.
"""

import json
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from tests.command_line import run_main
from tests.two_blocks import two_block_networks

tensorflow_hub = pytest.importorskip("tensorflow_hub")


def logits_of(kind: str, folder: str, images: np.ndarray) -> tf.Tensor:
    if kind == "hub":
        return tensorflow_hub.load(folder)(images)
    return tf.saved_model.load(folder).signatures["serving_default"](images=tf.constant(images * 255))["logits"]


def run_commands(commands: Sequence[Sequence[str]], exports: Sequence[tuple[str, str, str, str]] = ()) -> None:
    with two_block_networks():
        for arguments in commands:
            run_main(*arguments)
    for kind, folder, images, logits in exports:
        np.save(logits, logits_of(kind, folder, np.load(images)))


if __name__ == "__main__":
    run_commands(*map(json.loads, sys.argv[1:]))

"""A small release of official weights, a server that has it, and the refusal of what is no release."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import downloads, open_weights, releases
from efficientnet_advprop.recipes import RecipeError
from tests.archives import packed
from tests.file_server import serving
from tests.official_checkpoint import official_tensors, write_tf1
from tests.small import randomize_norms

NAME, ARCHIVE = "advprop/efficientnet-b0", "advprop/efficientnet-b0.tar.gz"
CHECKPOINT = [
    f"{NAME}/{name}" for name in ("checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index", "noise")
]


def narrow_b0() -> tf.keras.Model:
    return build_model("efficientnet-b0", 10, width_coefficient=0.25, depth_coefficient=0.2)


def released_model() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(0)
    model = narrow_b0()
    randomize_norms(model)
    return model


def released_archive(model: tf.keras.Model, folder: Path) -> bytes:
    """Laid out as the official ones: a folder with the checkpoint, and a record of it on another machine."""
    write_tf1(folder / "model.ckpt", official_tensors(model))
    (folder / "noise").write_bytes(np.random.default_rng(0).bytes(2**20))  # a size that takes more than one read
    (folder / "checkpoint").write_text('model_checkpoint_path: "/cns/elsewhere/model.ckpt"\n')
    return packed(folder, "efficientnet-b0")


@contextlib.contextmanager
def released(archive: bytes) -> Iterator:
    """A server that has the archive where Google's releases are looked for."""
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "BASE_ADDRESS", server.address)
        patch.setattr(downloads, "_WAIT_S", 0.0)
        server.files[ARCHIVE] = archive
        yield server


def message(name: str, cache_dir: str, **options) -> str:
    """The one line with which weights of a name are refused."""
    with pytest.raises(RecipeError) as error:
        open_weights(name, cache_dir, **options)
    assert "\n" not in str(error.value)
    return str(error.value)

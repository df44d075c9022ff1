"""The estimate of a step's memory: its variables against a real state, on TPUs against the compiler's plans."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks.accelerator.memory_table import CASES, estimated
from efficientnet_advprop.recipes import override
from efficientnet_advprop.training.memory import activation_bytes, step_memory
from tests.small import new_state, small_model, small_recipe

ROOT = Path(__file__).parents[1]
_GIB = 2**30


@pytest.mark.parametrize(("scheme", "optimizer"), [("vanilla", "momentum"), ("advprop", "rmsprop"), ("joint", "adamw")])
@pytest.mark.usefixtures("two_blocks")
def test_variables_are_those_of_the_state(scheme, optimizer):
    recipe = small_recipe(scheme, optimizer__optimizer=optimizer)
    state = new_state(recipe, tf.distribute.get_strategy())

    def size(variables):
        return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables if variable.shape.rank)

    gradients = (2 if scheme == "advprop" else 1) * size(state.model.trainable_variables)
    held = size([*state.model.variables, *state.average_model.variables, *state.optimizer.variables])
    estimate = step_memory(state.model, recipe, 8, remat=False, bytes_per_value=4, on_tpu=False)
    assert estimate.variables == held + gradients
    micro = step_memory(state.model, override(recipe, {"micro_batches": 2}), 4, False, 4, on_tpu=False)
    assert micro.variables == estimate.variables + size(state.model.trainable_variables)
    assert micro.activations < estimate.activations


def test_a_tpu_pads_channels_or_images_to_whole_tiles():
    """A single convolution, by hand: 24 channels and 40 images."""

    class OneConvolution:
        def activations(self, image_size, remat):
            one = small_model().stem.activations(image_size)[0]
            return [one._replace(channels=24)], [[]]

    kept = activation_bytes(OneConvolution(), 40, 64, remat=False, bytes_per_value=2, on_tpu=True)
    # 128 channels for 40 images, or 24 channels for 128 images: the second is smaller.
    one = 32 * 32 * 24 * 128 * 2
    assert one == min(32 * 32 * 128 * 40 * 2, 32 * 32 * 24 * 128 * 2)
    assert kept == one + round(1.1 * 32 * 32 * 24 * 128) * 2


def test_estimates_are_near_the_plans_of_the_tpu_compiler():
    """The committed plans; of the large networks those of this table's builder are checked when it is made."""
    text = (ROOT / "docs/tpu_memory.md").read_text()
    plans = {name: float(gib) for name, gib in re.findall(r"^\| (\S+) +\| \w+ +\| +[\d.]+ +\| +([\d.]+)", text, re.M)}
    small = [one for one in CASES if not one.model.endswith(("b7", "b3"))]
    assert len(small) >= 14
    ratios = {one.name: estimated(one) / _GIB / plans[one.name] for one in small}
    assert max(abs(ratio - 1) for ratio in ratios.values()) < 0.25, ratios
    assert sum(abs(ratio - 1) < 0.16 for ratio in ratios.values()) >= 0.85 * len(ratios), ratios  # of two digits

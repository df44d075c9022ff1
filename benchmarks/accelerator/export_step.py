"""Write the training step of a run as a file that accelerators' compilers read.

    python -m benchmarks.accelerator.export_step --step_file=steps/b7 --model=efficientnet-b7 --advprop \
        --dataset=imagenet --train_batch_size=8 --precision=bfloat16

The flags are those of `main.py` that change the step. It is that of one replica with the whole batch: attack, passes,
optimizer, moving average. NAME.hlo.pb is the module as XLA takes it, NAME.json holds facts. With --steps=N, NAME.npz
holds the values of the step's arguments and what TensorFlow makes of them in N steps, which `run_step` compares.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags as absl_flags

import flags
import tpu_utils
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import Recipe, RecipeError
from efficientnet_advprop.training.memory import step_memory
from efficientnet_advprop.training.state import create_train_state
from efficientnet_advprop.training.step import make_replica_step
from flags.command import given_flags

# Other flags of `main.py` have no effect on the step, and are refused.
_OF_WEIGHTS = ("init_checkpoint", "ema", "keras_weights")
_READ = {flag.name for flag in flags.RECIPE_FLAGS if flag.name not in _OF_WEIGHTS}
_READ |= {"advprop", "precision", "use_bfloat16", "remat"}


def batch_specs(recipe: Recipe) -> dict[str, tf.TensorSpec]:
    """Shapes and types of a replica's batch."""
    size, count = recipe.network.input_image_size, recipe.train_batch_size
    images = {view: tf.TensorSpec((count, size, size, 3)) for view in recipe.views}
    return {**images, "labels": tf.TensorSpec((count, recipe.data.num_label_classes))}


def made_up_batch(specs: dict[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """Images of noise, and one class for each."""
    rng = np.random.default_rng(0)
    batch = {name: tf.constant(rng.uniform(0, 255, spec.shape), spec.dtype) for name, spec in specs.items()}
    count, classes = specs["labels"].shape
    return {**batch, "labels": tf.one_hot(rng.integers(0, classes, count), classes)}


def values_of_steps(
    step: Callable[[Any], dict[str, tf.Tensor]],
    variables: Sequence[tf.Variable],
    batch: dict[str, tf.Tensor],
    steps: int,
) -> dict[str, np.ndarray]:
    """The arguments of the first step, the metrics of every step and the variables after the last."""
    arguments = [*tf.nest.flatten(batch), *variables]
    values = {f"argument/{index}": np.asarray(value) for index, value in enumerate(arguments)}
    run = tf.function(step, autograph=False)
    for number in range(steps):
        values |= {f"metric/{number}/{name}": value.numpy() for name, value in run(batch).items()}
    return values | {f"variable/{index}": variable.numpy() for index, variable in enumerate(variables)}


def export(recipe: Recipe, remat: bool, precision: str, path: str, steps: int) -> dict[str, Any]:
    """Write the files of one step; returns its facts."""
    state = create_train_state(
        tf.distribute.get_strategy(),
        lambda: build_model(recipe.network, recipe.data.num_label_classes, recipe.branches, remat),
        recipe,
    )
    step, names = make_replica_step(state, recipe, recipe.phases[0].terms, num_replicas=1)
    specs = batch_specs(recipe)
    flat = tf.nest.flatten(specs)
    lowered = tf.function(
        lambda *values: step(tf.nest.pack_sequence_as(specs, values)), jit_compile=True, autograph=False
    )
    start = time.time()
    traced = lowered.get_concrete_function(*flat)
    # The trace does not list all: TF1's update takes handles.
    held = [*traced.variables, *state.model.variables, *state.average_model.variables, *state.optimizer.variables]
    by_handle = {id(variable.handle): variable for variable in held}
    variables = [by_handle[id(handle)] for handle in traced.captured_inputs]
    module = lowered.experimental_get_compiler_ir(*flat)(stage="hlo_serialized")
    with open(f"{path}.hlo.pb", "wb") as file:
        file.write(module)
    images = recipe.train_batch_size // recipe.micro_batches
    estimate = step_memory(state.model, recipe, images, remat, tf.as_dtype(state.model.compute_dtype).size, on_tpu=True)
    facts = {
        "model": recipe.network.name,
        "scheme": recipe.scheme,
        "attack": recipe.attack.summary(),
        "image_size": recipe.network.input_image_size,
        "batch_size": recipe.train_batch_size,
        "micro_batches": recipe.micro_batches,
        "precision": precision,
        "remat": remat,
        "generator": recipe.generator,
        "tensorflow": tf.__version__,
        "seconds_to_lower": round(time.time() - start, 1),
        "estimated_bytes": estimate.total,
        "metrics": sorted(names),
        "variables": [variable.name for variable in variables],
    }
    if steps:
        np.savez(f"{path}.npz", **values_of_steps(step, variables, made_up_batch(specs), steps))
    with open(f"{path}.json", "w") as file:
        json.dump(facts, file, indent=2)
    return facts


def export_from_flags(values: absl_flags.FlagValues, path: str | None, steps: int) -> dict[str, Any]:
    """Write the files of the step of these flags; returns its facts.

    Raises:
        RecipeError: for invalid values, and for flags without an effect on the step.
    """
    if not path:
        raise RecipeError("--step_file is missing: the path of the files, without an ending")
    if unread := [f"--{flag.name}" for flag in given_flags(values) if flag.name not in _READ]:
        raise RecipeError(f"no effect on an exported step: {', '.join(unread)}")
    flags.refuse_contradictions(values)
    recipe, options = flags.settings_from_flags(values)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    tpu_utils.set_graph_optimizer(False)
    precision = tpu_utils.set_precision(options.precision, tf.distribute.get_strategy())
    return export(recipe, options.remat, precision, path, steps)


def main(argv: list[str]) -> None:
    """Export the step of the flags."""
    del argv
    values = absl_flags.FLAGS
    try:
        facts = export_from_flags(values, values.step_file, values.steps)
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    print(json.dumps({name: value for name, value in facts.items() if name not in ("metrics", "variables")}))


if __name__ == "__main__":
    absl_flags.DEFINE_string("step_file", None, "Path of the files, without an ending.")
    absl_flags.DEFINE_integer("steps", 0, "Steps whose values go to NAME.npz; 0: none.", lower_bound=0)
    app.run(main, flags_parser=flags.parse_flags)

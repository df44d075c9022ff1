"""`--mode=plan`: what a run will take, by arithmetic on its recipe and on tables of devices; nothing is trained."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import tpu_utils
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.counting import DEPTHWISE, multiply_adds
from efficientnet_advprop.modes.fitting import ListedNetwork, StepMemory
from efficientnet_advprop.recipes import ATTACK_STEP, FORWARD_PASS, PlanSpec, Recipe, RecipeError
from efficientnet_advprop.reporting import describe_plan

# Operations per byte of memory bandwidth that training reaches: the speed of these networks follows the bandwidth
# more than the peak rate. With depthwise convolutions, from images per second that others trained on: EfficientNet-B4,
# 6 x 4.4 G operations each, 262 on a core of a TPU v3 (Tan and Le, arXiv 2104.00298, table 3), which is 15; 204
# on a V100 and 331 on an A100, B0 1,301 and 2,489 (NVIDIA's DeepLearningExamples, PyTorch, mixed precision), which is
# 6.0, 4.3, 3.3 and 2.8.
_OPERATIONS_PER_BYTE = {tpu_utils.TPU: 14.0, tpu_utils.GPU: 4.0}
# Without depthwise convolutions: a quarter of the peak rate of a V100 and of a TPU v3. The published run at hand is of
# grouped convolutions: ResNeXt-101 32x4d, 6 x 8.0 G operations each, 535 images per second on a V100 and 908 on an A100
# (DeepLearningExamples again), which is 28.
_OPERATIONS_PER_BYTE_DENSE = 35.0
_HIGHEST_UTILISATION = 0.5

# Milliseconds of one CPU core per image of 224 px, from docs/input_pipeline.md (1.07, with AutoAugment 1.64, with
# RandAugment 1.71; rounded up). Of the first, resizing, flip, clipping and copies take 0.6. That and augmentation grow
# with the output's area; reading and decoding a file do not.
_DECODE_MS, _RESIZE_MS = 0.5, 0.6
_AUGMENT_MS = {"none": 0.0, "autoaugment": 0.6, "randaugment": 0.7}


def forward_passes(recipe: Recipe, remat: bool = False, num_replicas: int = 1) -> float:
    """Forward passes per clean image whose operations a step has; a vanilla step has 3.

    With remat every backward pass adds one. (So do, for a third, the clean predictions of TRADES: 1 % too much.)
    """
    counted = recipe.passes_per_image(ATTACK_STEP, num_replicas) / FORWARD_PASS
    return counted + (recipe.passes_per_image(1.0, num_replicas) if remat else 0.0)


def default_utilisation(accelerator: tpu_utils.Accelerator, is_depthwise: bool, bytes_per_value: int = 2) -> float:
    """The fraction of the peak rate that training reaches, as published runs let expect.

    Args:
        accelerator: the device.
        is_depthwise: whether the network has depthwise convolutions.
        bytes_per_value: of an activation: float32 moves twice the bytes of the 16-bit types.
    """
    per_byte = _OPERATIONS_PER_BYTE[accelerator.kind] if is_depthwise else _OPERATIONS_PER_BYTE_DENSE
    per_byte *= 2 / bytes_per_value
    return min(_HIGHEST_UTILISATION, per_byte * accelerator.bandwidth_gb / (1e3 * accelerator.peak_tflops))


def input_seconds(recipe: Recipe) -> float | None:
    """Seconds of one CPU core per clean image of the training input; None for images that were not measured."""
    data, area = recipe.data, (recipe.network.input_image_size / 224) ** 2
    if data.train_crop != "distorted_box":  # digits and noise, which lie in memory, and small images
        return None
    return (_DECODE_MS + (_RESIZE_MS * len(recipe.views) + _AUGMENT_MS[data.augment_name]) * area) / 1e3


def make_plan(spec: PlanSpec, machines: Sequence[tpu_utils.Machine]) -> dict[str, Any]:
    """The plan for these machines as plain values.

    Raises:
        RecipeError: for a precision that a machine does not have.
    """
    recipe = spec.recipes[spec.scheme]
    model = build_model(recipe.network, recipe.data.num_label_classes, recipe.branches)
    counted = multiply_adds(model, recipe.network.input_image_size)
    listed = ListedNetwork(model)
    inference = sum(counted.values())
    planned = []
    for machine in machines:
        device = machine.accelerator
        memories = {name: StepMemory(listed, one, device, spec.precision) for name, one in spec.recipes.items()}
        value_bytes = memories[spec.scheme].bytes_per_value
        rate = spec.utilisation or default_utilisation(device, DEPTHWISE in counted, value_bytes)
        planned.append(_on_machine(spec, memories, machine, rate, 2 * inference))
    return {
        "model": recipe.network.name,
        "image_size": recipe.network.input_image_size,
        "scheme": spec.scheme,
        "total_steps": recipe.total_steps,
        "train_batch_size": recipe.train_batch_size,
        "parameters": {
            part: sum(variable.shape.num_elements() for variable in variables if variable.trainable)
            for part, variables in model.partition().items()
        },
        "multiply_adds": inference,
        "has_depthwise_convolutions": DEPTHWISE in counted,
        "schemes": {name: _costs(one, inference) for name, one in spec.recipes.items()},
        "refused_schemes": dict(spec.refused),
        "utilisation_is_given": spec.utilisation is not None,
        "input_cpu_seconds_per_image": input_seconds(recipe),
        "devices": planned,
    }


def _costs(recipe: Recipe, inference: int) -> dict[str, float]:
    """What a step costs per clean image: passes and multiply-adds."""
    return {
        "passes_of_the_papers": recipe.passes_per_image(),
        "passes": recipe.passes_per_image(ATTACK_STEP),
        "passes_with_remat": forward_passes(recipe, remat=True) * FORWARD_PASS,
        "multiply_adds": forward_passes(recipe) * inference,
    }


def _on_machine(
    spec: PlanSpec,
    memories: Mapping[str, StepMemory],
    machine: tpu_utils.Machine,
    utilisation: float,
    operations: int,
) -> dict[str, Any]:
    """The plan for one machine; `operations` are those of a forward pass of one image."""
    device, own = machine.accelerator, memories[spec.scheme]
    operations_per_second = machine.num_replicas * device.peak_tflops * 1e12 * utilisation
    schemes: dict[str, dict[str, Any]] = {}
    for name, memory in memories.items():
        recipe = memory.recipe
        try:
            setup = memory.setup(machine.num_replicas, spec.micro_batches)
        except RecipeError as error:
            schemes[name] = {"hours": None, "reason": str(error)}
            continue
        per_second = operations_per_second / (operations * forward_passes(recipe, setup.remat, machine.num_replicas))
        hours = recipe.total_steps * recipe.train_batch_size / per_second / 3600
        schemes[name] = {
            "hours": hours,
            "images_per_second": per_second,
            "remat": setup.remat,
            "micro_batches": setup.micro_batches,
            "planned_bytes": setup.planned_bytes,
            "flags": setup.flags,
        }
    rate, seconds = schemes[spec.scheme].get("images_per_second"), input_seconds(own.recipe)
    return {
        "name": machine.name,
        "accelerator": dataclasses.asdict(device),
        "replicas": machine.num_replicas,
        "usable_bytes": device.usable_bytes,
        "utilisation": utilisation,
        "largest_batch": {"remat" if remat else "plain": own.largest_batch(remat) for remat in own.remats},
        "input_cores": rate * seconds if rate and seconds else None,
        "schemes": schemes,
    }


def run_plan(spec: PlanSpec, as_json: bool) -> str:
    """The plan as text, or as one JSON object.

    Raises:
        DeviceError: for an unknown machine.
        RecipeError: for a precision that a named device does not have.
    """
    machines = [tpu_utils.machine_named(name) for name in spec.devices or tpu_utils.DEFAULT_MACHINES]
    if not spec.devices:
        machines = [machine for machine in machines if machine.accelerator.computes_in(spec.precision)]
    tpu_utils.hide_gpus()
    plan = make_plan(spec, machines)
    return json.dumps(plan, indent=1) if as_json else describe_plan(plan, spec.recipes[spec.scheme])

"""`--mode=plan`: what a run will take, by arithmetic on its recipe and on tables of devices; nothing is trained."""

import bisect
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tpu_utils
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.counting import DEPTHWISE, multiply_adds
from efficientnet_advprop.recipes import ATTACK_STEP, Recipe, RecipeError, family_of, scheme_named
from efficientnet_advprop.reporting import describe_plan
from efficientnet_advprop.training.memory import step_memory

_BYTES_PER_VALUE = 2  # of the 16-bit types of `Accelerator.precision`
_FORWARD_PASSES = 3  # in a forward and backward pass
# Numbers of images per replica that are tried, up to the largest batch of a recipe.
_SIZES = (1, 2, 4, *range(8, 4096, 8), *(2**power for power in range(12, 18)))
# Batch norm's error grows below 16 to 32 images per batch (Wu and He, arXiv 1803.08494, figure 1).
_SMALLEST_PIECE = 32

# Operations per byte of memory bandwidth that training reaches: the speed of these networks follows the bandwidth rather
# than the peak rate. With depthwise convolutions, from images per second that others trained on: EfficientNet-B4 (an
# image takes 6 x 4.4 G operations) 262 on a core of a TPU v3 (Tan and Le, arXiv 2104.00298, table 3), which is 15; 204 on
# a V100 and 331 on an A100, B0 1,301 and 2,489 (NVIDIA's DeepLearningExamples, PyTorch, mixed precision), which is 6.0,
# 4.3, 3.3 and 2.8.
_OPERATIONS_PER_BYTE = {tpu_utils.TPU: 14.0, tpu_utils.GPU: 4.0}
# Without depthwise convolutions no published run was at hand: a quarter of the peak rate of a V100 and of a TPU v3.
_OPERATIONS_PER_BYTE_DENSE = 35.0
_HIGHEST_UTILISATION = 0.5

# Milliseconds of one CPU core per image of 224 px, from docs/input_pipeline.md (images per second of CPU time: 522,
# with AutoAugment 229, with RandAugment 215). Of the first 1.9 ms, resizing, flip and clipping take 0.6, which grows
# with the area of the output, as augmentation does; reading and decoding a file do not.
_DECODE_MS, _RESIZE_MS = 1.3, 0.6
_AUGMENT_MS = {"none": 0.0, "autoaugment": 2.45, "randaugment": 2.75}


@dataclasses.dataclass(frozen=True)
class Setup:
    """The flags with which a step fits."""

    remat: bool
    micro_batches: int
    planned_bytes: int

    def flags(self, precision: str) -> str:
        """As on the command line."""
        parts = (
            f"--precision={precision}",
            *(["--remat"] if self.remat else []),
            *([f"--micro_batches={self.micro_batches}"] if self.micro_batches > 1 else []),
        )
        return " ".join(parts)


class StepMemory:
    """Memory of a recipe's step: what fits, and how.

    Args:
        model: of the recipe; its few variables of other branches than those of another scheme do not matter.
        recipe: scheme, optimizer, batch.
        padded: whether the device pads as a TPU does.
    """

    def __init__(self, model: Any, recipe: Recipe, padded: bool) -> None:
        self.recipe = recipe
        spec = recipe.network
        self.remats = (False,) if family_of(spec.name).of_keras or spec.sync_batch_norm else (False, True)
        self.planned: Callable[[int, bool], int] = functools.cache(
            lambda images, remat: step_memory(model, recipe, images, remat, _BYTES_PER_VALUE, padded).total
        )

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [size for size in _SIZES if self._refusal(size, 1) is None]

    def largest_batch(self, usable_bytes: int, remat: bool) -> int:
        """The largest of `_SIZES` that fits, clean images per replica in one piece; 0 if none does."""
        sizes = self._sizes
        count = bisect.bisect_left(sizes, True, key=lambda size: self.planned(size, remat) > usable_bytes)
        return sizes[count - 1] if count else 0

    def setup(self, usable_bytes: int, num_replicas: int, micro_batches: int | None) -> Setup:
        """The flags with which the recipe's batch fits.

        The whole batch without --remat if it fits; else in pieces of at least `_SMALLEST_PIECE` images, for the batch
        norms; else with --remat, which costs a forward pass for each backward pass, if the pieces are larger with it.

        Args:
            usable_bytes: of the device.
            num_replicas: replicas that divide the batch.
            micro_batches: the only number of pieces to try; None tries all.

        Raises:
            RecipeError: why there are none.
        """
        size = self.recipe.train_batch_size
        try:
            images = tpu_utils.per_replica_batch_size(size, num_replicas, micro_batches or 1)
        except tpu_utils.DeviceError as error:
            raise RecipeError(str(error)) from error
        pieces = [n for n in range(1, images + 1) if images % n == 0] if micro_batches is None else [micro_batches]
        if refusal := self._refusal(images, pieces[0]):
            raise RecipeError(refusal)
        found = {}
        for remat in self.remats:
            for number in pieces:
                if self._refusal(images, number) is None and self.planned(images // number, remat) <= usable_bytes:
                    found[remat] = Setup(remat, number, self.planned(images // number, remat))
                    break
        if not found:
            raise RecipeError("does not fit")
        plain, remat = found.get(False), found.get(True)
        if plain is None or (
            remat and images // plain.micro_batches < _SMALLEST_PIECE and remat.micro_batches < plain.micro_batches
        ):
            return remat
        return plain

    def _refusal(self, images: int, micro_batches: int) -> str | None:
        """Why the scheme does not allow this many images per replica in this many pieces; None if it does."""
        settings = dataclasses.replace(self.recipe.scheme_settings(), batch_size=images, micro_batches=micro_batches)
        try:
            scheme_named(self.recipe.scheme).validate(settings)
        except RecipeError as error:
            return str(error)
        return None


def forward_passes(recipe: Recipe, remat: bool = False, num_replicas: int = 1) -> float:
    """Forward passes per clean image whose operations a step has; a vanilla step has 3.

    With remat every backward pass adds one. (So do, for a third, the clean predictions of TRADES: 1 % too much.)
    """
    counted = _FORWARD_PASSES * recipe.passes_per_image(ATTACK_STEP, num_replicas)
    return counted + (recipe.passes_per_image(1.0, num_replicas) if remat else 0.0)


def default_utilisation(accelerator: tpu_utils.Accelerator, is_depthwise: bool) -> float:
    """The fraction of the peak rate that training reaches, as published runs let expect.

    Args:
        accelerator: the device.
        is_depthwise: whether the network has depthwise convolutions.
    """
    per_byte = _OPERATIONS_PER_BYTE[accelerator.kind] if is_depthwise else _OPERATIONS_PER_BYTE_DENSE
    return min(_HIGHEST_UTILISATION, per_byte * accelerator.bandwidth_gb / (1e3 * accelerator.peak_tflops))


def input_seconds(recipe: Recipe) -> float | None:
    """Seconds of one CPU core per clean image of the training input; None for images that were not measured."""
    data, area = recipe.data, (recipe.network.input_image_size / 224) ** 2
    if data.train_crop != "distorted_box":  # digits and noise, which lie in memory, and small images
        return None
    return (_DECODE_MS + (_RESIZE_MS * len(recipe.views) + _AUGMENT_MS[data.augment_name]) * area) / 1e3


def make_plan(
    scheme: str,
    recipes: Mapping[str, Recipe],
    refused: Mapping[str, str],
    machines: Sequence[tpu_utils.Machine],
    utilisation: float | None,
    micro_batches: int | None,
) -> dict[str, Any]:
    """The plan as plain values.

    Args:
        scheme: of the run.
        recipes: the run's recipe under each scheme, by scheme; `vanilla` among them if it is possible.
        refused: reasons why other schemes are not possible.
        machines: to plan for.
        utilisation: fraction of the peak rate; None for `default_utilisation`.
        micro_batches: as in `StepMemory.setup`.
    """
    recipe = recipes[scheme]
    model = build_model(recipe.network, recipe.data.num_label_classes, recipe.branches)
    counted = multiply_adds(model, recipe.network.input_image_size)
    memories = {
        (name, kind): StepMemory(model, one, padded=kind == tpu_utils.TPU)
        for name, one in recipes.items()
        for kind in (tpu_utils.TPU, tpu_utils.GPU)
    }
    inference = sum(counted.values())
    planned = []
    for machine in machines:
        device = machine.accelerator
        of_kind = {name: memories[name, device.kind] for name in recipes}
        rate = utilisation or default_utilisation(device, DEPTHWISE in counted)
        planned.append(_on_machine(scheme, of_kind, machine, rate, 2 * inference, micro_batches))
    return {
        "model": recipe.network.name,
        "image_size": recipe.network.input_image_size,
        "scheme": scheme,
        "total_steps": recipe.total_steps,
        "train_batch_size": recipe.train_batch_size,
        "parameters": {
            part: sum(variable.shape.num_elements() for variable in variables if variable.trainable)
            for part, variables in model.partition().items()
        },
        "multiply_adds": inference,
        "has_depthwise_convolutions": DEPTHWISE in counted,
        "schemes": {name: _costs(one, inference) for name, one in recipes.items()},
        "refused_schemes": dict(refused),
        "utilisation_is_given": utilisation is not None,
        "input_cpu_seconds_per_image": input_seconds(recipe),
        "devices": planned,
    }


def _costs(recipe: Recipe, inference: int) -> dict[str, float]:
    """What a step costs per clean image: passes and multiply-adds."""
    return {
        "passes_of_the_papers": recipe.passes_per_image(),
        "passes": recipe.passes_per_image(ATTACK_STEP),
        "passes_with_remat": forward_passes(recipe, remat=True) / _FORWARD_PASSES,
        "multiply_adds": forward_passes(recipe) * inference,
    }


def _on_machine(
    scheme: str,
    memories: Mapping[str, StepMemory],
    machine: tpu_utils.Machine,
    utilisation: float,
    operations: int,
    micro_batches: int | None,
) -> dict[str, Any]:
    """The plan for one machine; `operations` are those of a forward pass of one image."""
    device, usable, own = machine.accelerator, machine.accelerator.usable_bytes, memories[scheme]
    operations_per_second = machine.num_replicas * device.peak_tflops * 1e12 * utilisation
    schemes, setups = {}, {}
    for name, memory in memories.items():
        recipe = memory.recipe
        try:
            setups[name] = setup = memory.setup(usable, machine.num_replicas, micro_batches)
        except RecipeError as error:
            schemes[name] = {"hours": None, "reason": str(error)}
            continue
        per_second = operations_per_second / (operations * forward_passes(recipe, setup.remat, machine.num_replicas))
        hours = recipe.total_steps * recipe.train_batch_size / per_second / 3600
        flags = setup.flags(device.precision)
        schemes[name] = {
            "hours": hours,
            "images_per_second": per_second,
            "remat": setup.remat,
            "micro_batches": setup.micro_batches,
            "flags": flags,
        }
    setup, seconds = setups.get(scheme), input_seconds(own.recipe)
    rate = schemes[scheme].get("images_per_second")
    return {
        "name": machine.name,
        "accelerator": dataclasses.asdict(device),
        "replicas": machine.num_replicas,
        "usable_bytes": usable,
        "utilisation": utilisation,
        "largest_batch": {"remat" if remat else "plain": own.largest_batch(usable, remat) for remat in own.remats},
        "planned_bytes": setup.planned_bytes if setup else None,
        "images_per_second": rate,
        "input_cores": rate * seconds if rate and seconds else None,
        "schemes": schemes,
    }


def run_plan(
    scheme: str,
    recipes: Mapping[str, Recipe],
    refused: Mapping[str, str],
    devices: Sequence[str],
    utilisation: float | None,
    micro_batches: int | None,
    as_json: bool,
) -> str:
    """The plan as text or as one JSON object.

    Args:
        scheme: of the run.
        recipes: as in `make_plan`.
        refused: as in `make_plan`.
        devices: names of machines; empty for one of each kind.
        utilisation: as in `make_plan`.
        micro_batches: as in `make_plan`.
        as_json: whether to give JSON.

    Raises:
        DeviceError: for an unknown machine.
    """
    machines = [tpu_utils.machine_named(name) for name in devices or tpu_utils.DEFAULT_MACHINES]
    tpu_utils.hide_gpus()
    plan = make_plan(scheme, recipes, refused, machines, utilisation, micro_batches)
    return json.dumps(plan, indent=1) if as_json else describe_plan(plan, recipes[scheme])

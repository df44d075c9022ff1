"""The flags with which a training step fits into a device's memory, for `--mode=plan`."""

import bisect
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tpu_utils
from efficientnet_advprop.recipes import Recipe, RecipeError, family_of, scheme_named
from efficientnet_advprop.training.memory import step_memory

# Numbers of images per replica that are tried, up to the largest batch of a recipe.
SIZES = (1, 2, 4, *range(8, 4096, 8), *(2**power for power in range(12, 18)))
# Batch norm's error grows below 16 to 32 images per batch (Wu and He, arXiv 1803.08494, figure 1).
_SMALLEST_PIECE = 32


@dataclasses.dataclass(frozen=True)
class Setup:
    """The flags with which a step fits."""

    precision: str
    remat: bool
    micro_batches: int
    planned_bytes: int

    @property
    def flags(self) -> str:
        """As on the command line."""
        parts = (
            f"--precision={self.precision}",
            *(["--remat"] if self.remat else []),
            *([f"--micro_batches={self.micro_batches}"] if self.micro_batches > 1 else []),
        )
        return " ".join(parts)


@functools.cache
def divisors(number: int) -> list[int]:
    """The divisors of a number, in ascending order."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


class ListedNetwork:
    """A network whose variables are listed once: Keras searches all layers at each access, 0.1 s for B7."""

    def __init__(self, model: Any) -> None:
        self.weights, self.trainable_variables, self._model = model.weights, model.trainable_variables, model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class StepMemory:
    """Memory of a recipe's step: what fits, and how.

    Args:
        model: of the recipe; its few variables of other branches than those of another scheme do not matter.
        recipe: scheme, optimizer, batch.
        device: its memory is used.
        precision: of the layers' arithmetic; None is the device's 16-bit type.

    Raises:
        RecipeError: for a precision that the device does not have.
    """

    def __init__(self, model: Any, recipe: Recipe, device: tpu_utils.Accelerator, precision: str | None = None) -> None:
        if not device.computes_in(precision):
            known = " or ".join((*device.precisions, "float32"))
            raise RecipeError(f"{device.name} computes in {known}, not in {precision}")
        self.recipe, self._usable_bytes = recipe, device.usable_bytes
        self._precision = precision or device.precisions[0]
        spec, on_tpu = recipe.network, device.kind == tpu_utils.TPU
        self.remats = (False,) if family_of(spec.name).of_keras or spec.sync_batch_norm else (False, True)

        def planned(images: int, remat: bool, micro_batches: int = 1) -> int:
            in_pieces = dataclasses.replace(recipe, micro_batches=micro_batches)
            return step_memory(model, in_pieces, images, remat, self.bytes_per_value, on_tpu).total

        self.planned: Callable[..., int] = functools.cache(planned)

    @property
    def bytes_per_value(self) -> int:
        """Of an activation."""
        return 4 if self._precision == "float32" else 2

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [size for size in SIZES if self._refusal(size, 1) is None]

    def largest_batch(self, remat: bool) -> int:
        """The largest of `SIZES` that fits, clean images per replica in one piece; 0 if none does."""
        sizes = self._sizes
        count = bisect.bisect_left(sizes, True, key=lambda size: self.planned(size, remat) > self._usable_bytes)
        return sizes[count - 1] if count else 0

    def setup(self, num_replicas: int, micro_batches: int | None = None) -> Setup:
        """The flags with which the recipe's batch fits.

        The whole batch without --remat if it fits; else in pieces of at least `_SMALLEST_PIECE` images, for the batch
        norms; else with --remat, which costs a forward pass for each backward pass, if the pieces are larger with it.

        Args:
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
        pieces = divisors(images) if micro_batches is None else [micro_batches]
        if refusal := self._refusal(images, pieces[0]):
            raise RecipeError(refusal)
        found = {}
        for remat in self.remats:
            for number in pieces:
                if self._refusal(images, number) is not None:
                    continue
                planned = self.planned(images // number, remat, number)
                if planned <= self._usable_bytes:
                    found[remat] = Setup(self._precision, remat, number, planned)
                    break
        if not found:
            raise RecipeError(f"{images} clean images per replica do not fit in any number of micro_batches it allows")
        plain, remat = found.get(False), found.get(True)
        if plain is None or (
            remat and images // plain.micro_batches < _SMALLEST_PIECE and remat.micro_batches < plain.micro_batches
        ):
            return remat
        return plain

    def _refusal(self, images: int, micro_batches: int) -> str | None:
        """Why the recipe does not allow this many images per replica in this many pieces; None if it does."""
        recipe = dataclasses.replace(self.recipe, micro_batches=micro_batches)
        try:
            recipe.validate()
            scheme_named(recipe.scheme).validate(dataclasses.replace(recipe.scheme_settings(), batch_size=images))
        except RecipeError as error:
            return str(error)
        return None

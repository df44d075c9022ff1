"""What `--mode=visualize` draws, and the settings of image synthesis."""

import dataclasses
from typing import Annotated

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.bounds import Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known

GRADIENTS, GENERATION, INPAINTING, ATTACK = "gradients", "generation", "inpainting", "attack"
VISUALIZATIONS = (GRADIENTS, GENERATION, INPAINTING, ATTACK)
SYNTHESES = (GENERATION, INPAINTING)  # they need images of the network's classes

# The constants of Santurkar et al. (Image Synthesis with a Single (Robust) Classifier, arXiv 1906.09453) are those of
# the notebooks that the authors published (MadryLab/robustness_applications), for images in [0, 1]: (epsilon, length of
# a step, number of steps). The Euclidean length of a change grows with the side of the image, so at other sizes epsilon
# and step are multiplied by the ratio of the sides: our choice.
_CIFAR_PX, _IMAGENET_PX = 32, 224
_GENERATION = {_CIFAR_PX: (30.0, 0.5, 60), _IMAGENET_PX: (40.0, 1.0, 60)}
_INPAINTING = (21.6, 0.1, 720)  # at 224 px
_MASK_PX = 60  # of 224
_SMALL_BELOW_PX = 64
_MOST_IMAGES = 32  # more columns are too small to see
_SEED_GRAIN = 4  # the seeds of 224 px have 56 px; those of CIFAR-10 have all pixels


@dataclasses.dataclass(frozen=True)
class VisualizationSpec(Bounded):
    """The figures to draw.

    Attributes:
        parts: of `VISUALIZATIONS`.
        visualize_images: number of columns of a figure.
        visualize_classes: names or numbers of the classes to generate; empty: evenly spaced ones.
        compared: folders of further runs, whose networks are shown beside the first.
    """

    parts: tuple[str, ...] = VISUALIZATIONS
    visualize_images: Annotated[int, Bounds(f"[1, {_MOST_IMAGES}]")] = 8
    visualize_classes: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    def validate(self) -> None:
        """Refuse invalid values.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for what, values in (("visualize", self.parts), ("visualize_classes", self.visualize_classes)):
            if len(set(values)) != len(values):
                raise RecipeError(f"{what} {', '.join(values)} repeats one")
        if len(self.visualize_classes) > _MOST_IMAGES:
            raise RecipeError(
                f"visualize_classes names {len(self.visualize_classes)} classes; at most {_MOST_IMAGES} are drawn"
            )
        for part in self.parts:
            require_known("visualize", part, VISUALIZATIONS)
        if self.visualize_classes and GENERATION not in self.parts:
            raise RecipeError(f"visualize_classes would have no effect: they are those of {GENERATION}")


def generation_attack(image_size: int) -> AttackSpec:
    """The steps in L2 from a random seed to an image of a class."""
    published = _CIFAR_PX if image_size < _SMALL_BELOW_PX else _IMAGENET_PX
    return _l2_steps(*_GENERATION[published], image_size / published)


def inpainting_attack(image_size: int) -> AttackSpec:
    """The steps in L2 from a masked image to a whole one."""
    return _l2_steps(*_INPAINTING, image_size / _IMAGENET_PX)


def mask_side_px(image_size: int) -> int:
    """The side of the square that inpainting fills."""
    return max(1, round(_MASK_PX * image_size / _IMAGENET_PX))


def seed_grain_px(image_size: int) -> int:
    """The side of the squares of equal pixels in a random seed, which divides the image's side."""
    return 1 if image_size < _SMALL_BELOW_PX or image_size % _SEED_GRAIN else _SEED_GRAIN


def _l2_steps(epsilon: float, step: float, num_steps: int, scale: float) -> AttackSpec:
    return AttackSpec(
        "pgd",
        "l2",
        epsilon_px=255 * scale * epsilon,
        step_size_px=255 * scale * step,
        num_steps=num_steps,
        random_start=False,
    )

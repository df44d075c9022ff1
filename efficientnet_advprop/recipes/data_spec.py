"""The settings of the data: data set, crops, augmentation."""

import dataclasses
from typing import Annotated

from efficientnet_advprop.recipes.bounds import IMAGES, Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known

TRAIN_CROPS = ("distorted_box", "pad_and_crop", "none")
EVAL_CROPS = ("pad32", "0.875", "none")
RESIZES = ("bicubic", "bilinear")
WITHOUT_FOLDER = ("digits", "fake")  # data sets that this project holds or makes
AUGMENTATIONS = ("none", "autoaugment", "randaugment")
# Above, every coefficient is close to 1/2; below, to 0 or 1, and logarithms leave float32.
_ALPHA = Bounds("0 or [1e-6, 1000]")


@dataclasses.dataclass(frozen=True)
class DataSpec(Bounded):
    """The data that the network is trained and evaluated on; recorded with the weights, because evaluation must match.

    Attributes:
        dataset: "digits" (scikit-learn's 1,797 handwritten digits, in memory), "fake" (random images), "cifar10",
            "imagenet" (any folder of images, with the recipe for ImageNet), or a name of TensorFlow Datasets.
        num_label_classes: number of classes.
        num_train_images: images in one epoch.
        num_eval_images: images that an evaluation must count.
        train_crop: "distorted_box" (the official code's: a box of 8 to 100 % of the area, aspect ratio 3/4 to 4/3),
            "pad_and_crop" (pad each side by an eighth, then crop to the original size: for small images, where the
            official crop removes too much) or "none".
        eval_crop: side of the central square as a fraction of the image's short side: "pad32" (size / (size + 32), as
            the released AdvProp weights expect), "0.875" (the official code since November 2021) or "none" (the whole
            image).
        flip: mirror each training image with probability 1/2.
        resize: how a crop is resized to the input: "bicubic" (as TF1 and the official EfficientNet code) or "bilinear"
            (half-pixel centres and antialiasing, as PIL and torchvision).
        augment_name: augmentation after crop and flip: "autoaugment" (the policy found on ImageNet), "randaugment" or
            "none".
        randaug_num_layers: RandAugment's operations per image.
        randaug_magnitude: RandAugment's level; 10 is the strongest of AutoAugment, the official recipes use up to 28.
        augment_pixel_scale: factor on augmentation lengths in pixels, which are meant for 224 px; for small images it
            is their size / 224.
        mixup_alpha: parameter of MixUp's Beta distribution; 0 turns MixUp off.
        cutmix_alpha: parameter of CutMix's Beta distribution; 0 turns CutMix off.
        holdout_shards: evaluate on this many of the training files, the first ones, and do not train on them. The
            official trainer selects its settings this way ("minival", 20 of 1,024 files). 0 evaluates on the
            evaluation files.
        train_images_per_class: train on the first images of each class only, this many; None trains on all. For digits
            and class folders: the effect of a regulariser is largest with little data.
    """

    dataset: str
    num_label_classes: Annotated[int, Bounds("[2, 1e6]")]  # the largest published, of faces, have some 1e6
    num_train_images: Annotated[int, IMAGES]
    num_eval_images: Annotated[int, IMAGES]
    train_crop: str = "distorted_box"
    eval_crop: str = "pad32"
    flip: bool = True
    resize: str = "bicubic"
    augment_name: str = "none"
    randaug_num_layers: Annotated[int, Bounds("[1, 100]")] = 2  # 2 or 3 are usual; each makes the graph longer
    randaug_magnitude: Annotated[int, Bounds("[0, 100]")] = 10  # up to 28 is published
    augment_pixel_scale: Annotated[float, Bounds("(0, 100]")] = 1.0  # 100 is for images of 22,400 px
    mixup_alpha: Annotated[float, _ALPHA] = 0.0
    cutmix_alpha: Annotated[float, _ALPHA] = 0.0
    holdout_shards: Annotated[int, Bounds("[0, 1e6]")] = 0
    train_images_per_class: Annotated[int | None, IMAGES] = None

    def validate(self) -> None:
        """Refuse what cannot be run; the RecipeError names the value and what is allowed."""
        require_known("train_crop", self.train_crop, TRAIN_CROPS)
        require_known("eval_crop", self.eval_crop, EVAL_CROPS)
        require_known("resize", self.resize, RESIZES)
        require_known("augment_name", self.augment_name, AUGMENTATIONS)
        if not self.dataset:
            raise RecipeError("the data set has no name")
        if self.mixup_alpha and self.cutmix_alpha:
            raise RecipeError("mixup_alpha and cutmix_alpha are two ways to mix a batch: one of them must be 0")

    def augmentation_summary(self) -> str:
        """The augmentation after crop and flip in one line; empty if there is none."""
        parts = [] if self.augment_name == "none" else [self.augment_name]
        if self.augment_name == "randaugment":
            parts[0] += f" ({self.randaug_num_layers} operations at level {self.randaug_magnitude})"
        for name, alpha in (("mixup", self.mixup_alpha), ("cutmix", self.cutmix_alpha)):
            if alpha:
                parts.append(f"{name} (alpha {alpha:g})")
        return ", ".join(parts)


IMAGENET = DataSpec("imagenet", num_label_classes=1000, num_train_images=1_281_167, num_eval_images=50_000)


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What was found in the data; numbers are None if not counted, such as the records of remote files.

    Attributes:
        where: the folder or the data set's name, for messages.
        num_label_classes: number of classes.
        num_train_images: training images.
        num_eval_images: evaluation images.
        notes: lines for the user: what is left out, an order of labels that may surprise.
    """

    where: str
    num_label_classes: int | None = None
    num_train_images: int | None = None
    num_eval_images: int | None = None
    notes: tuple[str, ...] = ()

    def known(self) -> dict[str, int]:
        """The known numbers, by the name of the `DataSpec` field that must equal them."""
        fields = ("num_label_classes", "num_train_images", "num_eval_images")
        return {field: getattr(self, field) for field in fields if getattr(self, field) is not None}

    def check(self, spec: DataSpec) -> None:
        """Refuse a recipe with other numbers, which would give wrong epochs and accuracies.

        Raises:
            RecipeError: naming the field, its value and what was found.
        """
        what = {"num_label_classes": "classes", "num_train_images": "training", "num_eval_images": "evaluation"}
        for field, found in self.known().items():
            if found != getattr(spec, field):
                images = "" if field == "num_label_classes" else " images"
                raise RecipeError(
                    f"{field} is {getattr(spec, field)}, but {self.where} holds {found} {what[field]}{images}"
                )

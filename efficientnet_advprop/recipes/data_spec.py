"""A data set and the geometry of its images as values."""

import dataclasses

from efficientnet_advprop.recipes.errors import RecipeError

# The data sets with a recipe of their own; any other name is one of TensorFlow Datasets.
DATASETS = ("digits", "fake", "cifar10", "imagenet")
TRAIN_CROPS = ("distorted_box", "pad_and_crop", "none")
EVAL_CROPS = ("pad32", "0.875", "none")
RESIZES = ("bicubic", "bilinear")
AUGMENTATIONS = ("none", "autoaugment", "randaugment")


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What the network is trained and evaluated on; recorded with the weights, since evaluation has to match.

    Attributes:
        dataset: "digits" (scikit-learn's 1,797 handwritten digits, in memory), "fake" (random images), "cifar10",
            "imagenet" (any folder of images under the recipe for ImageNet), or a name of TensorFlow Datasets.
        num_label_classes: number of classes.
        num_train_images: images in one epoch.
        num_eval_images: images that an evaluation must count.
        train_crop: "distorted_box" (the official code's: a box of 8 to 100 % of the area, aspect 3/4 to 4/3),
            "pad_and_crop" (pad each side by an eighth, crop the size back: for small images, of which the official
            crop leaves too little) or "none".
        eval_crop: side of the central square as a fraction of the image's short side: "pad32" (size / (size + 32), what
            the released AdvProp weights expect), "0.875" (the official code since November 2021) or "none" (all of it).
        flip: mirror half of the training images.
        resize: how a crop becomes the input: "bicubic" (TF1's, the official EfficientNet code's) or "bilinear" (with
            half-pixel centres and antialiased, as PIL's and with it torchvision's).
        augment_name: "autoaugment" (the policy found on ImageNet), "randaugment" or "none": after crop and flip.
        randaug_num_layers: operations per image.
        randaug_magnitude: their level; 10 is the strongest of AutoAugment's, the official recipes use up to 28.
        augment_pixel_scale: factor on what augmentation counts in pixels, which is meant for 224 px: the size over 224
            for small images.
        mixup_alpha: of MixUp's Beta distribution; 0 is off.
        cutmix_alpha: of CutMix's Beta distribution; 0 is off.
        holdout_shards: evaluate on this many of the training files, the first ones, and do not train on them (the
            official trainer's "minival", with which it chooses settings: 20 of 1,024 files); 0 takes evaluation files.
        train_images_per_class: train on this many images of each class, the first ones; None is all of them. For digits
            and class folders: with little data regularisers show.
    """

    dataset: str
    num_label_classes: int
    num_train_images: int
    num_eval_images: int
    train_crop: str = "distorted_box"
    eval_crop: str = "pad32"
    flip: bool = True
    resize: str = "bicubic"
    augment_name: str = "none"
    randaug_num_layers: int = 2
    randaug_magnitude: int = 10
    augment_pixel_scale: float = 1.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    holdout_shards: int = 0
    train_images_per_class: int | None = None

    def validate(self) -> None:
        """Refuse what cannot be run.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for field, known in (
            ("train_crop", TRAIN_CROPS),
            ("eval_crop", EVAL_CROPS),
            ("resize", RESIZES),
            ("augment_name", AUGMENTATIONS),
        ):
            if getattr(self, field) not in known:
                raise RecipeError(f"unknown {field} {getattr(self, field)!r}; known: {', '.join(known)}")
        if not self.dataset:
            raise RecipeError("the data set has no name")
        if self.holdout_shards < 0:
            raise RecipeError(f"holdout_shards {self.holdout_shards}: at least 0 are needed")
        if self.num_label_classes < 2:
            raise RecipeError(f"num_label_classes {self.num_label_classes}: at least 2 are needed")
        for field in ("num_train_images", "num_eval_images", "randaug_num_layers"):
            if getattr(self, field) < 1:
                raise RecipeError(f"{field} {getattr(self, field)}: at least 1 is needed")
        if self.train_images_per_class is not None and self.train_images_per_class < 1:
            raise RecipeError(f"train_images_per_class {self.train_images_per_class}: at least 1 is needed")
        for field in ("randaug_magnitude", "mixup_alpha", "cutmix_alpha"):
            if getattr(self, field) < 0:
                raise RecipeError(f"{field} {getattr(self, field):g} is below 0")
        if not self.augment_pixel_scale > 0:
            raise RecipeError(f"augment_pixel_scale {self.augment_pixel_scale:g} is not above 0")
        if self.mixup_alpha and self.cutmix_alpha:
            raise RecipeError("mixup_alpha and cutmix_alpha are two ways to mix a batch: one of them has to be 0")

    def augmentation_summary(self) -> str:
        """What training images and batches go through after crop and flip, in a few words; empty for nothing."""
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
    """What was found where the images are; None is not known, such as the number of records on a remote disk.

    Attributes:
        where: the folder or the data set's name, for messages.
        num_label_classes: number of classes.
        num_train_images: training images.
        num_eval_images: evaluation images.
    """

    where: str
    num_label_classes: int | None = None
    num_train_images: int | None = None
    num_eval_images: int | None = None

    def known(self) -> dict[str, int]:
        """The known numbers by the name of the `DataSpec` field that has to equal them."""
        fields = ("num_label_classes", "num_train_images", "num_eval_images")
        return {field: getattr(self, field) for field in fields if getattr(self, field) is not None}

    def check(self, spec: DataSpec) -> None:
        """Refuse a recipe with other numbers: epochs and accuracies would be wrong.

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

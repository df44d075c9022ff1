"""A data set and the geometry of its pictures as values."""

import dataclasses

from efficientnet_advprop.recipes.errors import RecipeError

DATASETS = ("digits", "imagenet")
TRAIN_CROPS = ("distorted_box", "pad_and_crop", "none")
EVAL_CROPS = ("pad32", "0.875", "none")
RESIZES = ("bicubic", "bilinear")


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What the network is trained and evaluated on; recorded with the weights, since evaluation has to match.

    Attributes:
        dataset: "digits" (scikit-learn's 1,797 handwritten digits, in memory) or "imagenet" (a folder in the layout of
            the official ImageNet TFRecords, whatever its pictures).
        num_label_classes: number of classes.
        num_train_images: pictures in one epoch.
        num_eval_images: pictures that an evaluation must count.
        train_crop: "distorted_box" (the official code's: a box of 8 to 100 % of the area, aspect 3/4 to 4/3),
            "pad_and_crop" (pad each side by an eighth, crop the size back: for small pictures, of which the official
            crop leaves too little) or "none".
        eval_crop: the central square's share of the short side: "pad32" (size / (size + 32), what the released
            AdvProp weights expect), "0.875" (the official code since November 2021) or "none" (all of it).
        flip: mirror half of the training pictures.
        resize: how a crop becomes the input: "bicubic" (TF1's, the official EfficientNet code's) or "bilinear" (with
            half-pixel centres and antialiased, as PIL's and with it torchvision's).
    """

    dataset: str
    num_label_classes: int
    num_train_images: int
    num_eval_images: int
    train_crop: str = "distorted_box"
    eval_crop: str = "pad32"
    flip: bool = True
    resize: str = "bicubic"

    @property
    def views(self) -> tuple[str, ...]:
        """The keys of a training batch that hold images."""
        return ("images",)

    def validate(self) -> None:
        """Refuse what cannot be run.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for field, known in (
            ("dataset", DATASETS),
            ("train_crop", TRAIN_CROPS),
            ("eval_crop", EVAL_CROPS),
            ("resize", RESIZES),
        ):
            if getattr(self, field) not in known:
                raise RecipeError(f"unknown {field} {getattr(self, field)!r}; known: {', '.join(known)}")
        if self.num_label_classes < 2:
            raise RecipeError(f"num_label_classes {self.num_label_classes}: at least 2 are needed")
        for field in ("num_train_images", "num_eval_images"):
            if getattr(self, field) < 1:
                raise RecipeError(f"{field} {getattr(self, field)}: at least 1 is needed")

"""The sources by name."""

from collections.abc import Callable

from efficientnet_advprop.data.digits import DigitsSource
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.data.tfrecord import TFRecordSource
from efficientnet_advprop.recipes import DataSpec, RecipeError

SOURCES: dict[str, Callable[[DataSpec, str | None], Source]] = {
    "digits": DigitsSource,
    "imagenet": TFRecordSource,
}


def open_source(spec: DataSpec, data_dir: str | None) -> Source:
    """Find the pictures and check that they are what the recipe says, without touching a device.

    Args:
        spec: the data set, validated.
        data_dir: its folder, local or gs://; None for data that come with a package.

    Raises:
        RecipeError: when pictures are missing, or are not as many or of as many classes as `spec` says.
    """
    source = SOURCES[spec.dataset](spec, data_dir)
    place = data_dir or spec.dataset
    for field, found, what in (
        ("num_label_classes", len(source.class_names), "classes"),
        ("num_train_images", source.num_train_images, "training pictures"),
        ("num_eval_images", source.num_eval_images, "evaluation pictures"),
    ):
        if found != getattr(spec, field):
            raise RecipeError(f"{field} is {getattr(spec, field)}, but {place} holds {found} {what}")
    return source

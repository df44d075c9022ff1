"""Data sets, and the batches that training and evaluation get from them."""

from efficientnet_advprop.data.digits import Digits
from efficientnet_advprop.data.pipeline import eval_dataset, train_dataset
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.recipes import DataSpec, RecipeError

__all__ = ["Source", "eval_dataset", "open_source", "train_dataset"]


def open_source(spec: DataSpec, data_dir: str | None) -> Source:
    """The data set of a recipe.

    Raises:
        RecipeError: when its folder is missing, or given for a data set that has none.
    """
    if spec.dataset == "digits":
        if data_dir is not None:
            raise RecipeError(f"--data_dir={data_dir} would have no effect: digits are inside scikit-learn")
        source = Digits()
        for field in ("num_train_images", "num_eval_images"):
            if getattr(spec, field) != getattr(source, field):
                raise RecipeError(f"{field} {getattr(spec, field)}: digits has {getattr(source, field)}")
        if spec.num_label_classes < len(source.class_names):
            raise RecipeError(f"num_label_classes {spec.num_label_classes}: digits has {len(source.class_names)}")
        return source
    raise RecipeError(f"dataset {spec.dataset} needs --data_dir")

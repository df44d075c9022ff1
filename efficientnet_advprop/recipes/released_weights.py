"""The preprocessing of a released checkpoint, by its folder."""

import re

# Folders of gs://cloud-tpu-checkpoints/efficientnet, and the preprocessing that their networks were trained with.
_PREPROCESSING_OF_FOLDER = {
    "advprop": "advprop",
    "ckpts": "imagenet",
    "ckptsaug": "imagenet",
    "randaug": "imagenet",
    "noisystudent": "imagenet",
}


def preprocessing_of_path(path: str) -> str | None:
    """The preprocessing of an official checkpoint, by the folders in its path; None if none of them is known.

    The checkpoint itself does not record it. The innermost known folder counts:
    `ckpts/advprop/efficientnet-b0/model.ckpt` is a checkpoint of AdvProp.

    Args:
        path: of the checkpoint, as the user gave it, without the working directory.
    """
    folders = [part for part in re.split(r"[/\\]", path)[:-1] if part in _PREPROCESSING_OF_FOLDER]
    return _PREPROCESSING_OF_FOLDER[folders[-1]] if folders else None

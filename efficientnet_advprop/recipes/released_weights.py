"""What the place of a released checkpoint tells about it."""

import re

# Folders of gs://cloud-tpu-checkpoints/efficientnet and what their networks were trained on.
_PREPROCESSING_OF_FOLDER = {
    "advprop": "advprop",
    "ckpts": "imagenet",
    "ckptsaug": "imagenet",
    "randaug": "imagenet",
    "noisystudent": "imagenet",
}


def preprocessing_of_path(path: str) -> str | None:
    """The preprocessing of an official checkpoint by the official folder that it lies in; None if the path has none.

    The files themselves do not tell. The innermost folder counts: `ckpts/advprop/efficientnet-b0` is AdvProp's.
    """
    folders = [part for part in re.split(r"[/\\]", path) if part in _PREPROCESSING_OF_FOLDER]
    return _PREPROCESSING_OF_FOLDER[folders[-1]] if folders else None

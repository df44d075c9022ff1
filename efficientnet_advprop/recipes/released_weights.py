"""What the folder of a released checkpoint tells about it."""

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
    """The preprocessing of an official checkpoint by the folders in its path; None if none does.

    The files themselves do not. The innermost folder counts: `ckpts/advprop/efficientnet-b0/model.ckpt` is AdvProp's.

    Args:
        path: of the checkpoint, as the user gave it: the working directory tells nothing.
    """
    folders = [part for part in re.split(r"[/\\]", path)[:-1] if part in _PREPROCESSING_OF_FOLDER]
    return _PREPROCESSING_OF_FOLDER[folders[-1]] if folders else None

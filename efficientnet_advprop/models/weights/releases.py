"""Google's released EfficientNets: their names here, their archives, and the preprocessing that they need.

Source: the README of tensorflow/tpu, models/official/efficientnet.
"""

import dataclasses
import re

from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile

BASE_ADDRESS = "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/"
_NETWORK = re.compile(r"(efficientnet-[a-z0-9]+)/")


@dataclasses.dataclass(frozen=True)
class ReleasedFolder:
    """A folder of gs://cloud-tpu-checkpoints/efficientnet.

    Attributes:
        preprocessing: the one that its networks were trained with.
        sizes: the networks' names behind "efficientnet-".
        archive: the name of an archive in it, with {} for the size.
    """

    preprocessing: str
    sizes: tuple[str, ...]
    archive: str = "efficientnet-{}.tar.gz"


_SIZES = tuple(f"b{number}" for number in range(9))
FOLDERS = {
    "advprop": ReleasedFolder("advprop", _SIZES),
    "ckpts": ReleasedFolder("imagenet", _SIZES[:6]),
    "ckptsaug": ReleasedFolder("imagenet", _SIZES[:8]),
    "randaug": ReleasedFolder("imagenet", ("b5", "b7"), "efficientnet-{}-randaug.tar.gz"),
    # l2_475 was trained on images of 475 px.
    "noisystudent": ReleasedFolder("imagenet", (*_SIZES[:8], "l2", "l2_475"), "noisy_student_efficientnet-{}.tar.gz"),
}
# FOLDER/NETWORK -> the archive behind the base address.
ARCHIVES = {
    f"{name}/efficientnet-{size}": f"{name}/{folder.archive.format(size)}"
    for name, folder in FOLDERS.items()
    for size in folder.sizes
}
# The names of the archives, as in the README, are known too.
SPELLINGS = {archive.removesuffix(".tar.gz"): name for name, archive in ARCHIVES.items()}


def network_of(name: str) -> str:
    """The network of a name in `ARCHIVES`."""
    return name.rpartition("/")[2].partition("_")[0]


def official_network_name(file: CheckpointFile) -> str | None:
    """The name of the network in an official checkpoint; None for any other checkpoint."""
    names = {match.group(1) for name in file.shapes if (match := _NETWORK.match(name))}
    return names.pop() if len(names) == 1 else None


def folder_of_path(path: str) -> str | None:
    """The name in `FOLDERS` that a path of an official checkpoint has as a folder; None if it has none.

    The innermost one counts: `ckpts/advprop/efficientnet-b0/model.ckpt` is a checkpoint of AdvProp.

    Args:
        path: of the checkpoint or its archive, its name or its address, as the user gave it, without the working
            directory.
    """
    folders = [part for part in re.split(r"[/\\]", path)[:-1] if part in FOLDERS]
    return folders[-1] if folders else None


def preprocessing_of_path(path: str) -> str | None:
    """The preprocessing of an official checkpoint, which does not record it, by `folder_of_path`; None without one."""
    folder = folder_of_path(path)
    return None if folder is None else FOLDERS[folder].preprocessing

"""The benchmarks for networks, each defined once, in the order of reports."""

import dataclasses

from efficientnet_advprop.recipes.errors import require_known
from efficientnet_advprop.recipes.networks import AUGMENTED_BRANCH, AUXILIARY_BRANCH, MAIN_BRANCH

# ImageNet-C's corruptions, which its authors distribute by group. The extra ones are for choosing settings and not part
# of a score.
GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
EXTRA = "extra"
EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
IMAGENET_C_CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
# Corruptions that can be made on the fly.
MADE_CORRUPTIONS = (*IMAGENET_C_CORRUPTIONS, "gaussian_blur")

# Kinds of benchmarks: one pass over images, a pass for each corruption and severity, a pass for each attack.
ONE, CORRUPTED, ATTACKED = "one", "corrupted", "attacked"

# Labels, sorted, of the 200 classes that two of ImageNet's test sets show. Sources: `eval.py` of
# hendrycks/natural-adv-examples and of hendrycks/imagenet-r. Both score a network by its most likely class among the
# 200: the columns of its logits are selected before the argmax.
# fmt: off
_IMAGENET_A = (
    6, 11, 13, 15, 17, 22, 23, 27, 30, 37, 39, 42, 47, 50, 57, 70, 71, 76, 79, 89, 90, 94, 96, 97, 99, 105, 107,
    108, 110, 113, 124, 125, 130, 132, 143, 144, 150, 151, 207, 234, 235, 254, 277, 283, 287, 291, 295, 298, 301,
    306, 307, 308, 309, 310, 311, 313, 314, 315, 317, 319, 323, 324, 326, 327, 330, 334, 335, 336, 347, 361, 363,
    372, 378, 386, 397, 400, 401, 402, 404, 407, 411, 416, 417, 420, 425, 428, 430, 437, 438, 445, 456, 457, 461,
    462, 470, 472, 483, 486, 488, 492, 496, 514, 516, 528, 530, 539, 542, 543, 549, 552, 557, 561, 562, 569, 572,
    573, 575, 579, 589, 606, 607, 609, 614, 626, 627, 640, 641, 642, 643, 658, 668, 677, 682, 684, 687, 701, 704,
    719, 736, 746, 749, 752, 758, 763, 765, 768, 773, 774, 776, 779, 780, 786, 792, 797, 802, 803, 804, 813, 815,
    820, 823, 831, 833, 835, 839, 845, 847, 850, 859, 862, 870, 879, 880, 888, 890, 897, 900, 907, 913, 924, 932,
    933, 934, 937, 943, 945, 947, 951, 954, 956, 957, 959, 971, 972, 980, 981, 984, 986, 987, 988,
)
_IMAGENET_R = (
    1, 2, 4, 6, 8, 9, 11, 13, 22, 23, 26, 29, 31, 39, 47, 63, 71, 76, 79, 84, 90, 94, 96, 97, 99, 100, 105, 107,
    113, 122, 125, 130, 132, 144, 145, 147, 148, 150, 151, 155, 160, 161, 162, 163, 171, 172, 178, 187, 195, 199,
    203, 207, 208, 219, 231, 232, 234, 235, 242, 245, 247, 250, 251, 254, 259, 260, 263, 265, 267, 269, 276, 277,
    281, 288, 289, 291, 292, 293, 296, 299, 301, 308, 309, 310, 311, 314, 315, 319, 323, 327, 330, 334, 335, 337,
    338, 340, 341, 344, 347, 353, 355, 361, 362, 365, 366, 367, 368, 372, 388, 390, 393, 397, 401, 407, 413, 414,
    425, 428, 430, 435, 437, 441, 447, 448, 457, 462, 463, 469, 470, 471, 472, 476, 483, 487, 515, 546, 555, 558,
    570, 579, 583, 587, 593, 594, 596, 609, 613, 617, 621, 629, 637, 657, 658, 701, 717, 724, 763, 768, 774, 776,
    779, 780, 787, 805, 812, 815, 820, 824, 833, 847, 852, 866, 875, 883, 889, 895, 907, 928, 931, 932, 933, 934,
    936, 937, 943, 945, 947, 948, 949, 951, 953, 954, 957, 963, 965, 967, 980, 981, 983, 988,
)
# fmt: on


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: in flags, and the first word of keys in results.
        title: in reports.
        kind: `ONE`, `CORRUPTED` or `ATTACKED`.
        num_images: size of its test set of ImageNet's classes, or of each part of the set; None: it uses the evaluation
            images of the network's own data set.
        metrics: to compare, headline first: "top1", "top1_of_N" (among `classes`), "mce", "mean_error".
        branches: to compare.
        classes: labels of its classes, if they are a subset of ImageNet's.
        cropped_px: side of its images, if they are distributed as squares; they are not cropped again.
        tfds_name: in TensorFlow Datasets; None if it is not there.
        folders: names of the folders with class folders in its authors' archives; their paths can be given too.
        parameter_free: of an attack, whether nothing but the ball is chosen.
    """

    name: str
    title: str
    kind: str = ONE
    num_images: int | None = None
    metrics: tuple[str, ...] = ("top1",)
    branches: tuple[str, ...] = (MAIN_BRANCH,)
    classes: tuple[int, ...] | None = None
    cropped_px: int | None = None
    tfds_name: str | None = None
    folders: tuple[str, ...] = ()
    parameter_free: bool = False

    @property
    def takes_own_images(self) -> bool:
        """Whether it reads the evaluation images of the network's own data set."""
        return self.num_images is None

    @property
    def is_made_on_the_fly(self) -> bool:
        """Whether it corrupts the network's own evaluation images."""
        return self.kind == CORRUPTED and self.takes_own_images


_ALL_BRANCHES = (MAIN_BRANCH, AUXILIARY_BRANCH, AUGMENTED_BRANCH)
_VALIDATION = ("val", "validation")
_V2 = tuple(f"imagenetv2-{kind}-format-val" for kind in ("matched-frequency", "threshold0.7", "top-images"))

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("clean", "clean evaluation images", branches=_ALL_BRANCHES),
        Benchmark(
            "imagenet", "ImageNet", ONE, 50_000, branches=_ALL_BRANCHES, tfds_name="imagenet2012", folders=_VALIDATION
        ),
        Benchmark("imagenet_v2", "ImageNetV2", ONE, 10_000, tfds_name="imagenet_v2", folders=_V2),
        Benchmark(
            "imagenet_a",
            "ImageNet-A",
            num_images=7_500,
            metrics=("top1_of_200", "top1"),
            classes=_IMAGENET_A,
            tfds_name="imagenet_a",
            folders=("imagenet-a",),
        ),
        Benchmark(
            "imagenet_r",
            "ImageNet-R",
            num_images=30_000,
            metrics=("top1_of_200", "top1"),
            classes=_IMAGENET_R,
            tfds_name="imagenet_r",
            folders=("imagenet-r",),
        ),
        Benchmark("imagenet_sketch", "ImageNet-Sketch", ONE, 50_889, tfds_name="imagenet_sketch", folders=("sketch",)),
        Benchmark("stylized", "Stylized-ImageNet", ONE, 50_000, cropped_px=224, folders=_VALIDATION),
        Benchmark(
            "imagenet_c",
            "ImageNet-C",
            CORRUPTED,
            num_images=50_000,
            metrics=("mce", "mean_error"),
            cropped_px=224,
            tfds_name="imagenet2012_corrupted",
        ),
        Benchmark("corruptions", "corruptions on the fly", CORRUPTED),
        Benchmark("pgd", "PGD", ATTACKED),
        Benchmark("autoattack", "AutoAttack", ATTACKED, parameter_free=True),
    )
}


def benchmark_of(key: str) -> Benchmark:
    """The benchmark of a part of results, by the first word of its key.

    Raises:
        RecipeError: for an unknown benchmark; the message lists the known ones.
    """
    name = key.partition("/")[0]
    require_known("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]

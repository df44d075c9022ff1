"""What benchmarks are called where people read, by the first word of their parts' names; in the order of reports."""

TITLES = {
    "clean": "clean evaluation images",
    "imagenet": "ImageNet",
    "imagenet_v2": "ImageNetV2",
    "imagenet_a": "ImageNet-A",
    "imagenet_r": "ImageNet-R",
    "imagenet_sketch": "ImageNet-Sketch",
    "stylized": "Stylized-ImageNet",
    "imagenet_c": "ImageNet-C",
    "corruptions": "corruptions on the fly",
    "pgd": "PGD",
}
# Benchmarks of many parts, BENCHMARK/CORRUPTION/SEVERITY.
CORRUPTED = ("imagenet_c", "corruptions")

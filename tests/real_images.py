"""Folders of real images beside the checkout; a test whose folder is absent is skipped."""

from pathlib import Path

import pytest

_DATA = Path(__file__).parents[2] / "shared" / "data"

CIFAR10 = _DATA / "cifar10-tfrecord"
IMAGENET_SAMPLE = _DATA / "imagenet-sample" / "val"  # one image a class

needs_cifar10 = pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"no CIFAR-10 TFRecords in {CIFAR10}")
needs_imagenet_sample = pytest.mark.skipif(
    not IMAGENET_SAMPLE.is_dir(), reason=f"no ImageNet images in {IMAGENET_SAMPLE}"
)

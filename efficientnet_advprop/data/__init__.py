"""Data: sources of images, preprocessing and augmentation, and the batches that training and evaluation read.

A source yields records and reads them; `pipeline` turns the records of any source into batches.
"""

from efficientnet_advprop.data.bad_images import (
    bad_image_in as bad_image_in,
    reason_without_ops as reason_without_ops,
)
from efficientnet_advprop.data.catalog import (
    check_options as check_options,
    find_source as find_source,
    labelled_as as labelled_as,
    open_source as open_source,
)
from efficientnet_advprop.data.class_images import MOST_PER_CLASS as MOST_PER_CLASS, class_images as class_images
from efficientnet_advprop.data.class_names import (
    IMAGENET_CLASSES as IMAGENET_CLASSES,
    class_names as class_names,
    named_synsets as named_synsets,
)
from efficientnet_advprop.data.image_files import (
    find_images as find_images,
    need_images as need_images,
    read_images as read_images,
)
from efficientnet_advprop.data.imagenet_variants import (
    ImagenetFiles as ImagenetFiles,
    find_corrupted_sets as find_corrupted_sets,
    open_imagenet_variant as open_imagenet_variant,
)
from efficientnet_advprop.data.pipeline import (
    eval_dataset as eval_dataset,
    evaluation_images as evaluation_images,
    train_dataset as train_dataset,
    whole_pixels as whole_pixels,
)
from efficientnet_advprop.data.preprocessing import (
    preprocess_eval as preprocess_eval,
    preprocess_train as preprocess_train,
)
from efficientnet_advprop.data.source import Source as Source

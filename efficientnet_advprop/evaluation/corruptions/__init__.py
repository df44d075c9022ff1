"""Common corruptions made from clean images: ImageNet-C's, at CIFAR-10-C's strengths for small images.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(ICLR 2019). `table.py` has the strengths, the other modules have what each corruption does to an image.
"""

from efficientnet_advprop.evaluation.corruptions.libraries import require_libraries as require_libraries
from efficientnet_advprop.evaluation.corruptions.table import corrupt as corrupt

"""AdvProp for EfficientNet and ResNet in TensorFlow: training, evaluation and export.

"Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665).
"""

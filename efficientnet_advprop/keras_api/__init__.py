"""AdvProp for Keras users: a model that `compile` and `fit` train, and what belongs to it."""

from efficientnet_advprop.keras_api.adversarial_images import adversarial_images as adversarial_images
from efficientnet_advprop.keras_api.advprop import AdvProp as AdvProp
from efficientnet_advprop.keras_api.pixel_range import PixelRange as PixelRange
from efficientnet_advprop.keras_api.plain_checkpoint import PlainModelCheckpoint as PlainModelCheckpoint

"""AdvProp for Keras users: a model that `compile` and `fit` train, and what belongs to it."""

from efficientnet_advprop.keras_api.advprop import AdvProp as AdvProp

"""A small run that tests share: seven narrow blocks, 16-px digits."""

from efficientnet_advprop.recipes import Recipe, named_recipe, override


def small_recipe(scheme: str = "advprop", **changes: object) -> Recipe:
    """AdvProp (or another scheme) on digits with a narrow network.

    Changes are given as group__field=value.
    """
    small = {
        "network.width_coefficient": 0.25,
        "network.depth_coefficient": 0.2,
        "network.input_image_size": 16,
        "train_batch_size": 8,
        "cadence.eval_batch_size": 60,
    }
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "digits", scheme), small | changed)

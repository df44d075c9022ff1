"""The families of networks. Every module in this folder defines one; there is no other list."""

import importlib
import pkgutil

from efficientnet_advprop.recipes.errors import require_known
from efficientnet_advprop.recipes.family import Family, NamedNetwork
from efficientnet_advprop.recipes.networks import NetworkSpec

FAMILIES: tuple[Family, ...] = tuple(
    importlib.import_module(f"{__name__}.{module.name}").FAMILY for module in pkgutil.iter_modules(__path__)
)
_NAMED = {named.spec.name: (family, named) for family in FAMILIES for named in family.networks}
NETWORKS: dict[str, NetworkSpec] = {name: named.spec for name, (_, named) in _NAMED.items()}


def family_of(model: str) -> Family:
    """The family of a network; a RecipeError for an unknown name lists the known ones."""
    return _find(model)[0]


def named_network(model: str) -> NamedNetwork:
    """A network with its published results; errors as `family_of`."""
    return _find(model)[1]


def network_spec(model: str) -> NetworkSpec:
    """The published settings of a network; errors as `family_of`."""
    return named_network(model).spec


def _find(model: str) -> tuple[Family, NamedNetwork]:
    require_known("model", model, _NAMED)
    return _NAMED[model]

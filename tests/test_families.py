"""Families of networks: one file defines each, for recipes and models."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from efficientnet_advprop.models import Network, network_class
from efficientnet_advprop.recipes import DATASETS, FAMILIES, NETWORKS, RecipeError, family_of

PACKAGE = Path(__file__).parents[1] / "efficientnet_advprop"
MADE_UP = """
import dataclasses

from efficientnet_advprop.recipes.families import resnet
from efficientnet_advprop.recipes.family import PGD1, NamedNetwork

SPEC = dataclasses.replace(resnet.FAMILY.networks[0].spec, name="madeup-9")
NETWORK = NamedNetwork(SPEC, attack=PGD1, published_top1={"advprop": 12.5}, measured={"digits": "50 %"}, is_deep=True)
FAMILY = dataclasses.replace(resnet.FAMILY, networks=(NETWORK,))
"""
ITS_RECIPES = """
import json

from efficientnet_advprop.recipes import DATASETS, named_recipe, to_json

recipes = {dataset: named_recipe("madeup-9", dataset, "advprop") for dataset in DATASETS}
for recipe in recipes.values():
    recipe.validate()
print(json.dumps({dataset: json.loads(to_json(recipe)) for dataset, recipe in recipes.items()}))
"""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.builder)
def test_a_familys_builder_builds_its_networks(family):
    builder = network_class(family)
    assert issubclass(builder, Network)
    for named in family.networks:
        assert isinstance(builder(named.spec), Network)


def test_networks_have_one_family_each():
    names = [named.spec.name for family in FAMILIES for named in family.networks]
    assert names == list(NETWORKS)
    assert [(family.builder, len(family.networks)) for family in FAMILIES] == [
        ("efficientnet:EfficientNet", 10),
        ("keras_network:KerasNetwork", 64),
        ("resnet:ResNet", 4),
        ("resnet:ResNet", 5),  # ResNeXt
    ]


def test_a_family_is_one_file(tmp_path):
    """A copy of the recipes package, which needs nothing else, with one additional file."""
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE / "recipes", package / "recipes")
    shutil.copy(PACKAGE / "__init__.py", package)
    (package / "recipes" / "families" / "madeup.py").write_text(MADE_UP)
    printed = subprocess.check_output([sys.executable, "-c", ITS_RECIPES], cwd=tmp_path, text=True)
    recipes = json.loads(printed)
    assert list(recipes) == list(DATASETS)
    assert {recipe["network"]["name"] for recipe in recipes.values()} == {"madeup-9"}
    assert {recipe["attack"]["num_steps"] for recipe in recipes.values()} == {1}
    assert recipes["imagenet"]["receipt"]["expected"] == "top-1 12.5 %"
    assert recipes["digits"]["train_epochs"] == 2
    assert (recipes["digits"]["receipt"]["expected"], recipes["digits"]["receipt"]["measured"]) == ("50 %", True)
    assert not recipes["cifar10"]["receipt"]["measured"]


def test_an_unknown_network_has_no_family():
    with pytest.raises(RecipeError, match=r"unknown model 'madeup-9'; \d+ names are known, such as efficientnet-b0, "):
        family_of("madeup-9")

"""`--help`, the nearest of misspelt names, and recipes printed as commands."""

import dataclasses
import re
import shlex

import pytest

import flags
from efficientnet_advprop.recipes import DATASETS, NETWORKS, SCHEMES, flatten
from flags import help as help_pages
from flags.flag import Topic
from tests.command_line import refused, run, set_flags

SCREENS = 2 * 50  # lines
NAMES = {flag.name for flag in flags.FLAGS}


def shown(*arguments: str, capsys) -> str:
    with pytest.raises(SystemExit) as stopped:
        flags.parse_flags(["main.py", *arguments])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_flag_on_two_screens(capsys):
    text = shown("--help", capsys=capsys)
    assert set(re.findall(r"--(?:\[no\])?(\w+)", text)) >= NAMES
    assert len(text.splitlines()) <= SCREENS
    assert max(map(len, text.splitlines())) < 120
    assert text == shown("--model=resnet-50", "-h", capsys=capsys)


def test_the_flags_explained_there_exist_and_topics_have_names_of_their_own():
    assert set(help_pages._COMMON.split()) <= NAMES
    assert set(Topic) == {flag.topic for flag in flags.FLAGS}
    assert not {topic.name.lower() for topic in Topic} & NAMES


def words(command: str) -> list[str]:
    """As a shell splits it."""
    return shlex.split(command.replace("\\\n", ""), comments=True)


@pytest.mark.parametrize("asked", ["--help=model", "--help=model_name", "--help=--model"])
def test_one_flag_in_full(asked, capsys):
    text = " ".join(shown(asked, capsys=capsys).split())
    assert text.startswith("--model=NAME, --model_name Network; efficientnet-b0 if absent. Values: ")
    assert all(name in text for name in NETWORKS)
    assert "Read by --mode=train_and_eval, " in text
    text = " ".join(shown("--help=attack_bn", capsys=capsys).split())
    assert "If absent: the recipe's value, attack.batch_norm_mode." in text and "Values: running, batch." in text


def test_a_topic_and_all_flags_in_full(capsys):
    of_topic = shown("--help=optimization", capsys=capsys)
    everything = shown("--helpfull", capsys=capsys)
    assert "--lr_decay_epoch=X" in of_topic and "--attack_steps" not in of_topic
    assert of_topic.strip() in everything
    for flag in flags.FLAGS:
        assert re.search(rf"^--(\[no\])?{flag.name}\b", everything, re.MULTILINE), flag.name
        assert flag.help in " ".join(everything.split()), flag.name


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["--modle=resnet-50"], "model"),
        (["--model=efficientnet-b77"], "efficientnet-b7"),
        (["--model=keras:mobilnetv2"], "keras:MobileNetV2"),
        (["--mode=trian"], "train"),
        (["--optimizer=adamm"], "adam"),
        (["--mode=study", "--schemes=vanilla,advporp"], "advprop"),
        (["--mode=study", "--schemes=vanila,advprop"], "vanilla"),
        (["--mode=study", "--schemes=vanilla", "--models=resnet-5"], "resnet-50"),
        (["--mode=eval", "--benchmarks=imagenetc"], "imagenet_c"),
        (["--mode=eval", "--benchmarks=corruptions", "--corruptions=frogs"], "frost"),
        (["--mode=visualize", "--visualize=gradient"], "gradients"),
        (["--dataset=cifr10", "--data_dir=."], "cifar10"),
        (["--help=atack_steps"], "attack_steps"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(arguments, nearest, capsys):
    line = refused(*arguments, capsys=capsys)
    meant = re.search(r"[Dd]id you mean:? ([^?]*)\?", line)
    assert meant is not None, line
    assert nearest in re.split(r", | or ", meant[1].strip())


@pytest.mark.parametrize("dataset", [*DATASETS])
@pytest.mark.parametrize("model", ["efficientnet-b4", "resnet-50", "keras:MobileNetV2"])
@pytest.mark.parametrize("scheme", [*SCHEMES])
def test_a_printed_recipe_is_a_command_that_gives_it(dataset, model, scheme, capsys):
    asked = [f"--dataset={dataset}", f"--model={model}", f"--scheme={scheme}", "--train_epochs=7"]
    printed, _ = run("--mode=plan", *asked, "--print_recipe", capsys=capsys)
    first = flags.plan_from_flags(set_flags("--mode=plan", *asked)).recipes[scheme]
    assert printed.startswith(f"# source: {first.provenance.source}\n# hardware: ")
    python, script, *given = words(printed)
    assert (python, script) == ("python", "main.py") and "--train_epochs=7.0" in given
    again, _ = flags.settings_from_flags(set_flags(*given))
    differing = {path for path, value in flatten(again).items() if value != flatten(first)[path]}
    assert not differing


def test_flags_of_a_plan_that_is_not_printed_are_refused(capsys):
    line = refused("--mode=plan", "--print_recipe", "--devices=v3-8", capsys=capsys)
    assert line == "error: --devices would have no effect: --print_recipe prints no plan"


def test_a_run_prints_its_recipe_and_does_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    out, _ = run("--advprop", "--train_steps=3", f"--model_dir={folder}", "--noremat", "--print_recipe", capsys=capsys)
    assert not folder.exists()
    given = words(out)
    assert f"--model_dir={folder}" in given and "--noremat" in given and "--train_steps=3" in given
    assert "--scheme=advprop" in given and "--advprop" not in given and "--print_recipe" not in given
    assert dataclasses.asdict(flags.settings_from_flags(set_flags(*given[2:])).recipe)["train_steps"] == 3

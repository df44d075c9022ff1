"""Epsilons of code whose images are in [0, 1]: warned of, or answered with the number to write."""

import pytest

import flags
from efficientnet_advprop.recipes import AttackSpec, about_small_epsilon
from tests.command_line import set_flags

SENTENCE = "is less than a tenth of one pixel value: lengths are on the scale of 0-255, so 8/255 is 8"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--attack_epsilon=0.031"], ["--attack_epsilon 0.031"]),
        (["--mode=eval", "--benchmarks=pgd", "--pgd_epsilons=0.031,8"], ["--pgd_epsilons 0.031"]),
        (["--mode=study", "--attack_epsilons=0.01,0.02"], ["--attack_epsilons 0.01", "--attack_epsilons 0.02"]),
        (["--attack_epsilon=0"], []),
        (["--attack_epsilon=0.5"], []),
        (["--advprop"], []),
    ],
)
def test_an_epsilon_on_the_scale_of_0_to_1_is_warned_of(arguments, named):
    assert flags.warnings_of(set_flags(*arguments)) == [f"{name} {SENTENCE}" for name in named]


def test_every_flag_of_an_epsilon_is_looked_at():
    for flag in flags.FLAGS:
        if "epsilon" in flag.name and flag.name != "batch_norm_epsilon":
            assert flags.warnings_of(set_flags(f"--{flag.name}=0.03")), flag.name


def test_the_default_is_not_warned_of():
    assert about_small_epsilon("epsilon_px", AttackSpec().epsilon_px) == ""


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("--attack_epsilon=8/255", "'8/255'; lengths are on the scale of 0-255: write 8"),
        ("--attack_step_size=2.5/255", "'2.5/255'; lengths are on the scale of 0-255: write 2.5"),
        ("--pgd_epsilons=4,8/255", "'8/255'; lengths are on the scale of 0-255: write 8"),
        ("--attack_epsilon=8/256", "'8/256'"),
        ("--base_learning_rate=8/255", "'8/255'"),
    ],
)
def test_a_fraction_is_answered_with_the_number_to_write(argument, remedy, capsys):
    with pytest.raises(SystemExit):
        set_flags(argument)
    assert capsys.readouterr().err.endswith(f"could not convert string to float: {remedy}\n")

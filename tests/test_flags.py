"""Every flag and every mode: a flag is accepted where its definition says so, and refused in one line elsewhere."""

import dataclasses
import re
from pathlib import Path

import pytest

import flags
import main
from efficientnet_advprop.recipes import BENCHMARKS, RecipeError, RunOptions, WeightsFacts, network_spec
from tests.command_line import set_flags

BUT_MODE = [flag for flag in flags.FLAGS if flag.name != "mode"]
OF_RECIPE = [flag for flag in BUT_MODE if isinstance(flag, flags.RecipeFlag)]
SAMPLES = {str: "a", int: "3", float: "0.5", bool: "true", list[str]: "a,b", tuple[float, ...]: "1,2"}
SAMPLES |= {Path: "a", list[Path]: "a,b", dict[str, Path]: "imagenet_a=b"}
# Flags that a mode requires.
NEEDED = {"predict": ["--images=a"], "study": ["--schemes=vanilla"], "compare": ["--compare=a"]}


def by_name(flag) -> str:
    return flag.name


def sample(flag) -> str:
    return f"--{flag.name}={flag.kind[0] if isinstance(flag.kind, tuple) else SAMPLES[flag.kind]}"


def beside(flag, mode) -> list[str]:
    """Other flags that this one needs to have an effect."""
    others = [other for other in NEEDED.get(mode, []) if not other.startswith(f"--{flag.name}=")]
    if flag.needs_benchmarks:
        read_by = flag.read_by or (lambda benchmark: True)
        others.append(f"--benchmarks={next(name for name, one in BENCHMARKS.items() if read_by(one))}")
    if flag.name in ("allow_extra_variables", "cache_dir", "offline") or (
        flag.name == "ema" and mode in flags.TRAINING
    ):
        others.append("--init_checkpoint=a")
    return others


@pytest.mark.parametrize("mode", flags.MODES)
@pytest.mark.parametrize("flag", BUT_MODE, ids=by_name)
def test_a_flag_is_accepted_in_the_modes_that_read_it(flag, mode):
    if mode in flag.modes:
        flags.refuse_contradictions(set_flags(f"--mode={mode}", sample(flag), *beside(flag, mode)))
        return
    with pytest.raises(RecipeError, match=rf"--{flag.name} is (read by --mode=.*not by {mode}($|: )|about one run: )"):
        flags.refuse_contradictions(set_flags(f"--mode={mode}", sample(flag)))


@pytest.mark.parametrize("mode", flags.READING)
@pytest.mark.parametrize("flag", OF_RECIPE, ids=by_name)
def test_given_weights_read_the_flags_that_say_so(flag, mode):
    """Other weights have no recipe to compare flags of training with: accepted flags would be ignored."""
    settings = {"network.name": "efficientnet-b0", "network.preprocessing": "advprop"}
    refused = ""
    try:
        flags.settings_from_flags(set_flags(f"--mode={mode}", sample(flag)), weights=WeightsFacts("x", settings, 3))
    except RecipeError as error:
        refused = str(error)
    assert (f"--{flag.name} would have no effect" in refused) == (mode not in flag.given and flag.name != "scheme")


@pytest.mark.parametrize(
    ("mode", "argument"),
    [
        ("export", "--iterations_per_loop=3"),
        ("export", "--eval_batch_size=3"),
        ("predict", "--bad_images=skip"),
        ("check_data", "--train_epochs=3"),
        ("check_data", "--attack_steps=3"),
        ("check_data", "--preprocessing=imagenet"),
        ("check_data", "--init_checkpoint=x"),
        ("check_data", "--noema"),
        ("check_data", "--tpu=local"),
        ("check_data", "--use_bfloat16"),
        ("compare", "--advprop"),
        ("compare", "--model_name=resnet-50"),
        ("compare", "--strategy=auto"),
        ("study", "--allow_extra_variables"),
        ("train", "--export_format=onnx"),
    ],
)
def test_what_a_mode_would_ignore_is_refused(mode, argument):
    with pytest.raises(RecipeError, match="is read by --mode="):
        flags.refuse_contradictions(set_flags(f"--mode={mode}", argument))


@pytest.mark.parametrize("flag", [flag for flag in BUT_MODE if flag.kind in (str, Path)], ids=by_name)
def test_an_empty_value_is_refused(flag):
    with pytest.raises(RecipeError, match=f"--{flag.name}= is empty"):
        flags.refuse_contradictions(set_flags(f"--mode={flag.modes[0]}", f"--{flag.name}="))


def test_a_flag_that_no_mode_reads_cannot_be_defined():
    with pytest.raises(TypeError, match="modes"):
        flags.Flag("new", int, "Does nothing.")
    for modes in ((), ("evaluate",)):
        with pytest.raises(ValueError, match="--new declares the modes"):
            flags.Flag("new", int, "Does nothing.", modes)


def test_flags_leave_the_options_their_defaults_and_replace_those_given():
    def options_of(*arguments):
        return flags.settings_from_flags(set_flags(*arguments)).options

    plain = options_of("--model_dir=x")
    changed = dataclasses.replace(plain, evaluation_dir="", command="")
    assert changed == RunOptions("x")
    given = options_of("--model_dir=x", "--strategy=mirrored", "--remat", "--bad_images=skip", "--export_dir=y")
    differing = {
        field.name for field in dataclasses.fields(given) if getattr(given, field.name) != getattr(plain, field.name)
    }
    assert differing == {"strategy", "remat", "input", "export_dir", "command"}
    assert (given.input.bad_images, given.export_folder, plain.export_folder) == ("skip", "y", "x/saved_model")


@pytest.mark.parametrize(
    ("arguments", "precision"),
    [
        ((), None),
        (("--precision=float16",), "float16"),
        (("--use_bfloat16",), "bfloat16"),
        (("--nouse_bfloat16",), "float32"),
        (("--use_bfloat16", "--precision=bfloat16"), "bfloat16"),
    ],
)
def test_one_precision_has_two_flags(arguments, precision):
    values = set_flags("--mode=train", *arguments)
    flags.refuse_contradictions(values)
    assert flags.settings_from_flags(values).options.precision == precision


@pytest.mark.parametrize(("switch", "precision"), [("--use_bfloat16", "float16"), ("--nouse_bfloat16", "bfloat16")])
def test_two_precisions_are_refused(switch, precision):
    with pytest.raises(RecipeError, match=f"^{switch} and --precision={precision}: give one of them$"):
        flags.refuse_contradictions(set_flags("--mode=train", switch, f"--precision={precision}"))


def test_main_runs_every_mode():
    assert tuple(main.RUN_MODE) == flags.MODES


def test_every_flag_of_the_recipe_is_read_by_training():
    assert [flag.name for flag in OF_RECIPE if "train_and_eval" not in flag.modes] == []


def test_an_alias_is_the_flag_itself():
    values = set_flags("--model_name=resnet-50")
    assert values.model == "resnet-50"
    assert re.fullmatch(r"python main\.py --model=resnet-50", flags.settings_from_flags(values).options.command)
    flags.parse_flags(["main.py", "--model=efficientnet-b0"])
    assert values.model_name == network_spec("efficientnet-b0").name


PATHS = {Path: ("~/a", "{}/a"), list[Path]: ("~/a,~/b=~", "{}/a,{}/b=~"), dict[str, Path]: ("x=~/a", "x={}/a")}


@pytest.mark.parametrize("flag", [flag for flag in BUT_MODE if flag.kind in PATHS], ids=by_name)
def test_every_path_may_begin_with_the_home_folder(flag, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/a/test")
    given, expected = PATHS[flag.kind]
    value = set_flags(f"--{flag.name}={given}")[flag.name].value
    expected = expected.replace("{}", "/home/of/a/test")
    assert (value if isinstance(value, str) else ",".join(value)) == expected


def test_every_flag_of_a_folder_or_file_is_a_path():
    """A flag that is new has to be added here if it names no path."""
    named = {flag.name for flag in BUT_MODE if re.search(r"(?i)folder|\bfile\b|pattern", flag.help)}
    assert named <= {flag.name for flag in BUT_MODE if flag.kind in PATHS}

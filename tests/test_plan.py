"""`--mode=plan` against hand-computed values."""

import dataclasses
import json
import re

import pytest
import tensorflow as tf

import flags
import main
import tpu_utils
from efficientnet_advprop.models.counting import multiply_adds
from efficientnet_advprop.modes.fitting import SIZES, Setup, StepMemory
from efficientnet_advprop.modes.plan import default_utilisation, forward_passes, input_seconds
from efficientnet_advprop.recipes import SCHEMES, RecipeError, named_recipe, override
from efficientnet_advprop.training.memory import step_memory
from tests.command_line import refused, run, set_flags
from tests.small import small_model, small_recipe
from tests.tiny_keras import TINY, tiny_networks

NARROW = ("--mode=plan", "--width_coefficient=0.25", "--depth_coefficient=0.1", "--input_image_size=32")
GIB = 2**30


def planned(*arguments, capsys) -> dict:
    out, err = run(*NARROW, "--json", *arguments, capsys=capsys)
    assert err == ""
    return json.loads(out)


def test_multiply_adds_of_three_layers_by_hand():
    layers = tf.keras.layers
    images = tf.keras.Input((32, 32, 3))
    features = layers.DepthwiseConv2D(5, padding="same")(layers.Conv2D(8, 3, 2, "same")(images))  # [16, 16, 8]
    model = tf.keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(features)))
    assert multiply_adds(model, 32) == {
        "Conv2D": 16 * 16 * 8 * 3 * 3 * 3,
        "DepthwiseConv2dNative": 16 * 16 * 8 * 5 * 5,
        "MatMul": 8 * 10,
    }


@pytest.mark.parametrize(
    ("name", "replicas", "gib", "tflops"),
    [
        ("v2-8", 8, 8, 22.5),  # 8 cores, 180 TFLOPS in all
        ("v3-32", 32, 16, 61.5),
        ("v4-8", 4, 32, 275),  # 4 chips
        ("v5e-8", 8, 16, 197),
        ("v5p-16", 8, 95, 459),
        ("v6e-1", 1, 32, 918),
        ("t4", 1, 15, 65),
        ("v100-16x4", 4, 16, 125),
        ("a100-80x8", 8, 80, 312),
        ("h100-80", 1, 80, 989),
    ],
)
def test_machines_by_name(name, replicas, gib, tflops):
    machine = tpu_utils.machine_named(name)
    assert (machine.name, machine.num_replicas) == (name, replicas)
    assert (machine.accelerator.memory_gib, machine.accelerator.peak_tflops) == (gib, tflops)


@pytest.mark.parametrize("name", ["v3", "v3-0", "v3-8x2", "v4-7", "a100", "a100-80x0", "a100-80x", "V3-8", "", " t4"])
def test_a_wrong_machine_is_refused_in_one_line(name):
    with pytest.raises(tpu_utils.DeviceError, match=f"^(no device '{name}'; known: v2-N, .*h100-80|{name}: .* 2$)"):
        tpu_utils.machine_named(name)


def test_default_machines_are_one_of_each_kind():
    machines = [tpu_utils.machine_named(name) for name in tpu_utils.DEFAULT_MACHINES]
    assert [machine.accelerator for machine in machines] == list(tpu_utils.ACCELERATORS.values())


@pytest.mark.parametrize(
    ("scheme", "steps", "plain", "remat"),
    [  # In forward passes: 3 of a training pass, 2 of an attack step, and one more for each backward pass with remat.
        ("vanilla", 5, 3, 4),
        ("advprop", 1, 3 + 3 + 2, 4 + 4 + 3),
        ("advprop", 5, 3 + 3 + 5 * 2, 4 + 4 + 5 * 3),
        ("adversarial_then_clean", 5, (3 + 5 * 2 + 3) / 2, (4 + 5 * 3 + 4) / 2),
        ("fine_grained", 5, 3 * 3 + 5 * 2, 3 * 4 + 5 * 3),
        ("trades", 2, 3 + 3 + 2 * 2 + 1, 4 + 4 + 2 * 3 + 1 + 1 / 3),  # and clean predictions
    ],
)
def test_forward_passes_by_hand(scheme, steps, plain, remat):
    recipe = override(named_recipe("efficientnet-b7", "imagenet", scheme), {"attack.num_steps": steps})
    assert forward_passes(recipe) == pytest.approx(plain)
    assert forward_passes(recipe, remat=True) == pytest.approx(remat)


def test_the_input_of_b7_by_hand():
    recipe = named_recipe("efficientnet-b7", "imagenet", "advprop")
    assert input_seconds(recipe) == pytest.approx((0.5 + (0.6 + 0.6) * (600 / 224) ** 2) / 1000)
    plain = override(recipe, {"network.input_image_size": 224, "data.augment_name": "none"})
    assert 1e3 * input_seconds(plain) == pytest.approx(1.09, rel=0.02)  # docs/input_pipeline.md
    assert 1e3 * input_seconds(override(plain, {"data.augment_name": "autoaugment"})) == pytest.approx(1.68, rel=0.02)
    assert input_seconds(small_recipe()) is None


def test_the_expected_rates_are_close_to_the_published_ones():
    """Images per second of a replica; see docs/accelerators.md."""
    for name, images in {"v100-16": 535, "a100-40": 908}.items():  # ResNeXt-101 32x4d, whose convolutions are grouped
        device = tpu_utils.ACCELERATORS[name]
        rate = default_utilisation(device, False) * device.peak_tflops * 1e12 / (2 * 3 * 8.0e9)
        assert images / 1.6 < rate < images * 1.6
    published = {("v3", 4.39e9): 262, ("v100-16", 4.39e9): 204, ("a100-80", 4.39e9): 331, ("a100-80", 0.39e9): 2489}
    for (name, count), images in published.items():
        device = tpu_utils.ACCELERATORS[name]
        rate = default_utilisation(device, True) * device.peak_tflops * 1e12 / (2 * 3 * count)
        assert images / 1.6 < rate < images * 1.6
    assert default_utilisation(tpu_utils.ACCELERATORS["v3"], True) == pytest.approx(14 * 450e9 / 61.5e12)
    assert all(
        default_utilisation(device, True) < default_utilisation(device, False) <= 0.5
        for device in tpu_utils.ACCELERATORS.values()
    )


def device_of(usable_bytes, name="t4"):
    """An accelerator with this much memory to use."""
    device = tpu_utils.ACCELERATORS[name]
    kept = device.memory_gib * GIB - device.usable_bytes
    return dataclasses.replace(device, memory_gib=(usable_bytes + kept) / GIB)


@pytest.mark.parametrize("scheme", ["advprop", "fast_advprop"])
def test_the_batch_that_fits_fits_and_the_next_one_does_not(scheme):
    recipe, model = small_recipe(scheme, train_batch_size=1024), small_model()
    for name in ("v3", "t4"):
        for usable in (10 * 2**20, 40 * 2**20, 300 * 2**20):
            memory = StepMemory(model, recipe, device_of(usable, name))
            largest = {remat: memory.largest_batch(remat) for remat in memory.remats}
            for remat, size in largest.items():
                too_many = SIZES[SIZES.index(size) + 1]
                assert memory.planned(size, remat) <= usable < memory.planned(too_many, remat)
            assert largest[False] <= largest[True]
    assert StepMemory(model, recipe, device_of(0)).largest_batch(False) == 0


def test_float32_takes_twice_the_activations():
    recipe, model, device = small_recipe(), small_model(), tpu_utils.ACCELERATORS["a100-40"]
    short, wide = (StepMemory(model, recipe, device, precision) for precision in ("float16", "float32"))
    values = (step_memory(model, recipe, 8, False, size, False).activations for size in (2, 4))
    assert wide.planned(8, False) - short.planned(8, False) == -int.__sub__(*values) > 0
    assert [short.setup(1).precision, wide.setup(1).precision] == ["float16", "float32"]
    assert StepMemory(model, recipe, device).setup(1).flags == "--precision=bfloat16"
    for name, precision in (("v100-16", "bfloat16"), ("v3", "float16")):
        with pytest.raises(RecipeError, match=f"^{name} computes in .*float32, not in {precision}$"):
            StepMemory(model, recipe, tpu_utils.ACCELERATORS[name], precision)


def test_a_batch_is_cut_only_as_far_as_needed():
    """With 100 bytes per image, 30 with --remat, and one for micro-batches."""
    model = small_model()

    def setup(usable, scheme="advprop", replicas=4, micro_batches=None, **changes):
        recipe = small_recipe(scheme, train_batch_size=1024, **changes)
        memory = StepMemory(model, recipe, device_of(usable))
        memory.planned = lambda images, remat, pieces: images * (30 if remat else 100) + (pieces > 1)
        found = memory.setup(replicas, micro_batches)
        return found.remat, found.micro_batches, found.planned_bytes

    assert setup(25_600) == (False, 1, 25_600)
    assert setup(25_599) == (False, 2, 12_801)
    assert setup(12_800) == (False, 4, 6_401)
    assert setup(3_201) == (False, 8, 3_201)
    # Pieces of 16 images are small for a batch norm: recomputation allows 64.
    assert setup(3_200) == (True, 4, 1_921)
    assert setup(101) == (True, 128, 61)
    assert setup(31) == (True, 256, 31)
    assert setup(25_600, micro_batches=8) == (False, 8, 3_201)
    assert setup(3_200, micro_batches=8) == (True, 8, 961)
    assert setup(20_480, "fast_advprop") == (True, 1, 7_680)  # it has no micro-batches
    assert setup(25_600, "vanilla", network__sync_batch_norm=True) == (False, 1, 25_600)
    for arguments, changes, reason in (
        ((25_600, "advprop", 3), {}, "1024 does not divide over 3 replicas"),
        ((25_600, "advprop", 4, 3), {}, "does not divide into 3 micro-batches"),
        ((30, "advprop"), {}, "256 clean images per replica do not fit"),
        ((7_679, "fast_advprop"), {}, "256 clean images per replica do not fit"),
        ((25_600, "fast_advprop", 4, 2), {}, "micro_batches above 1 exclude each other"),
        ((25_599, "vanilla"), {"network__sync_batch_norm": True}, "256 clean images per replica do not fit"),
    ):
        with pytest.raises(RecipeError, match=reason):
            setup(*arguments, **changes)


def test_the_flags_of_a_setup_are_those_of_training():
    given = Setup("float16", True, 4, 0).flags.split()
    values = set_flags("--mode=train", "--train_batch_size=32", *given)
    flags.refuse_contradictions(values)
    recipe, options = flags.settings_from_flags(values)
    assert (options.precision, options.remat, recipe.micro_batches) == ("float16", True, 4)


def test_a_plan_by_hand(capsys):
    plan = planned("--advprop", "--devices=v3-32,a100-80x8", "--utilisation=0.25", "--attack_steps=3", capsys=capsys)
    assert (plan["scheme"], plan["total_steps"], plan["train_batch_size"]) == ("advprop", 218_949, 2048)
    assert set(plan["parameters"]) == {"shared", "main", "auxiliary"}
    assert plan["parameters"]["main"] == plan["parameters"]["auxiliary"]
    assert plan["schemes"]["advprop"]["passes"] == pytest.approx(2 + 3 * 2 / 3)
    # Fast AdvProp has one attack step: with three it is no scheme to compare with.
    assert "one untargeted step" in plan["refused_schemes"]["fast_advprop"]
    assert set(plan["schemes"]) == set(SCHEMES) - {"fast_advprop"}
    tpu, gpu = plan["devices"]
    rate = 32 * 61.5e12 * 0.25 / (2 * 3 * plan["multiply_adds"])  # vanilla
    assert tpu["schemes"]["vanilla"]["images_per_second"] == pytest.approx(rate)
    assert tpu["schemes"]["vanilla"]["hours"] == pytest.approx(218_949 * 2048 / rate / 3600)
    assert tpu["schemes"]["advprop"]["hours"] == pytest.approx(4 * tpu["schemes"]["vanilla"]["hours"])
    assert gpu["schemes"]["vanilla"]["images_per_second"] == pytest.approx(rate * 8 * 312 / (32 * 61.5))
    assert tpu["schemes"]["advprop"]["images_per_second"] == pytest.approx(rate / 4)
    assert tpu["input_cores"] == pytest.approx(rate / 4 * (0.5 + 1.2 * (32 / 224) ** 2) / 1000)
    assert tpu["usable_bytes"] == 15.75 * GIB
    assert tpu["schemes"]["advprop"]["planned_bytes"] < tpu["usable_bytes"]
    assert tpu["schemes"]["advprop"]["flags"] == "--precision=bfloat16"


def test_the_text_names_every_scheme_and_machine_and_opens_nothing(capsys, monkeypatch):
    def touched(*_arguments, **_options):
        raise AssertionError("a plan is arithmetic alone")

    monkeypatch.setattr(main, "find", touched)
    monkeypatch.setattr(tpu_utils, "connect", touched)
    out, err = run(*NARROW, "--scheme=fast_advprop", "--micro_batches=1", "--train_batch_size=96", capsys=capsys)
    assert err == ""
    assert "on imagenet, scheme fast_advprop" in out
    assert {line.split()[0] for line in out.splitlines() if line} >= {*tpu_utils.DEFAULT_MACHINES, *SCHEMES}
    assert max(map(len, out.splitlines()[4:])) <= 120


def test_keras_networks_and_small_sets_can_be_planned(capsys):
    with tiny_networks():
        out, _ = run(
            "--mode=plan", f"--model={TINY}", "--dataset=digits", "--devices=v2-8,t4x3", "--json", capsys=capsys
        )
    plan = json.loads(out)
    tpu, gpu = plan["devices"]
    assert set(tpu["largest_batch"]) == {"plain"}  # no blocks to recompute
    assert tpu["schemes"]["vanilla"]["hours"] > 0
    assert tpu["input_cores"] is None
    assert "32 does not divide over 3 replicas" in gpu["schemes"]["vanilla"]["reason"]
    assert gpu["input_cores"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices=v3-8,tpu"], "no device 'tpu'; known: v2-N, "),
        (["--devices="], "--devices= is empty"),
        (["--devices=a100-80,t4", "--precision=bfloat16"], "t4 computes in float16 or float32, not in bfloat16"),
        (["--utilisation=0"], r"utilisation 0 is outside \(0, 1\]"),
        (["--utilisation=nan"], "utilisation nan is not a finite number"),
        (["--dataset=food101"], "it needs --num_train_images and --num_label_classes"),
        (["--advprop", "--clean_from_epoch=4", "--scheme=vanilla"], "--advprop and --scheme=vanilla contradict"),
        (["--fast_adversarial_share=0.5", "--attack_steps=2"], "--fast_adversarial_share would have no effect"),
        (["--scheme=fast_advprop", "--micro_batches=2"], "micro_batches above 1 exclude each other"),
        (["--remat"], "--remat is read by --mode=train_and_eval, train and study, not by plan"),
        (["--model_dir=x"], "--model_dir is read by .*, not by plan$"),
        (["--data_dir=x"], "--data_dir is read by .*, not by plan: leave it out, a plan opens no data$"),
        (["--train_steps=3", "--train_epochs=3"], "both give the length"),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments, message, capsys):
    line = refused("--mode=plan", *arguments, capsys=capsys)
    assert line.startswith("error: ")
    assert re.search(message, line)


def test_other_data_sets_are_planned_by_their_numbers(capsys):
    numbers = ("--dataset=food101", "--num_train_images=75750", "--num_label_classes=101", "--devices=t4")
    plan = planned(*numbers, "--train_epochs=2", "--train_batch_size=500", capsys=capsys)
    assert plan["total_steps"] == 303


def test_without_devices_a_plan_is_for_those_that_have_the_precision(capsys):
    plan = planned("--precision=float16", capsys=capsys)
    names = [device["name"] for device in plan["devices"]]
    assert names == [name for name in tpu_utils.DEFAULT_MACHINES if name[0] in "tah" or name.startswith("v100")]


def test_hours_have_no_exponent(capsys):
    text, _ = run("--mode=plan", "--dataset=digits", "--devices=a100-80x8", capsys=capsys)
    assert re.search(r"^a100-80x8 +< 0\.1 ", text, re.M)
    assert "e-0" not in text

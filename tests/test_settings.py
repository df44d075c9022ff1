"""The recipe of flags, refused flags, and whether a folder can continue with a recipe."""

import pytest

import flags
from efficientnet_advprop.recipes import DataFacts, RecipeError, differences, flatten
from efficientnet_advprop.training import run_folder
from tests.command_line import set_flags


def parsed(*arguments: str) -> flags.Settings:
    values = set_flags(*arguments)
    flags.refuse_contradictions(values)
    return flags.settings_from_flags(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--advprop", "--scheme=vanilla"), "contradict"),
        (("--noadvprop", "--scheme=advprop"), "contradict"),
        (("--train_steps=5", "--train_epochs=1"), "both give the length"),
        (("--scheme=vanilla", "--attack_steps=3"), "--attack_steps would have no effect: scheme vanilla"),
        (("--adversarial_weight=2",), "--adversarial_weight would have no effect"),
        (("--randaug_magnitude=5",), "--randaug_magnitude would have no effect: augment_name is none"),
        (
            ("--augment_name=autoaugment", "--randaug_num_layers=3"),
            "--randaug_num_layers would have no effect: augment_name is autoaugment",
        ),
        (("--augment_pixel_scale=0.5",), "--augment_pixel_scale would have no effect: augment_name is none"),
        (("--mixup_alpha=0.2", "--cutmix_alpha=1"), "mixup_alpha and cutmix_alpha are two ways to mix a batch"),
        (("--attack=none",), "--attack would have no effect: scheme vanilla makes no adversarial images"),
        (("--advprop", "--attack=none", "--attack_steps=3"), "--attack_steps would have no effect: attack is none"),
        (("--advprop", "--augmented_weight=2"), "no effect: scheme advprop has no augmented term"),
        (("--scheme=adversarial", "--clean_weight=2"), "no effect: scheme adversarial has no clean term"),
        (
            ("--advprop", "--attack=gd", "--attack_random_start=false", "--attack_epsilon=3"),
            "--attack_epsilon would have no effect: attack gd without a uniform random start has no ball",
        ),
        (
            ("--scheme=trades", "--attack=gd", "--attack_epsilon=3"),
            "--attack_epsilon would have no effect: attack gd without a uniform random start has no ball",
        ),
        (
            ("--advprop", "--attack_random_start=false", "--attack_start_std=1"),
            "--attack_start_std would have no effect: attack_random_start is false",
        ),
        (("--advprop", "--attack=none", "--attack_start_std=1"), "--attack_start_std would have no effect: attack is"),
        (("--advprop", "--attack_start_std=-1"), "attack start_std_px -1 is outside"),
        (("--scheme=trades", "--attack=ifgsm"), "trades needs attack_random_start"),
        (("--advprop", "--clean_from_epoch=2"), "--clean_from_epoch would have no effect: scheme is advprop"),
        (("--advprop", "--fast_adversarial_share=0.3"), "--fast_adversarial_share would have no effect"),
        (
            ("--scheme=fine_grained", "--augment_name=none"),
            "fine_grained trains on augmented images too: it needs --augment_name",
        ),
        (("--scheme=fast_advprop", "--micro_batches=2"), "exclude each other"),
        (("--eval_branch=auxiliary",), "the branches of scheme vanilla are main"),
        (("--mode=train", "--eval_branch=main"), "--eval_branch is read by"),
        (("--lr_decay_factor=0.5",), "--lr_decay_factor would have no effect: lr_schedule is cosine"),
        (("--lr_step_epochs=2,4",), "--lr_step_epochs would have no effect: lr_schedule is cosine"),
        (
            ("--lr_schedule=step", "--lr_step_epochs=2,4", "--lr_decay_epoch=2"),
            "--lr_decay_epoch would have no effect: lr_schedule is step",
        ),
        (("--decay_batch_norm", "--weight_decay=0"), "--decay_batch_norm would have no effect: weight_decay is 0"),
        (("--resize=bilinear",), "--resize would have no effect: the digits have the input's size already"),
        (("--momentum=0.5",), "--momentum would have no effect: optimizer is adam"),
        (("--checkpoint=best",), "--checkpoint is read by"),
        (("--mode=train", "--export_dir=x"), "--export_dir is read by"),
        (("--mode=export", "--remat"), "--remat is read by"),
        (("--mode=eval", "--iterations_per_loop=3"), "--iterations_per_loop is read by"),
        (
            ("--mode=check_data", "--randaug_magnitude=5"),
            "--randaug_magnitude would have no effect: augment_name is none",
        ),
        (("--mode=check_data", "--resize=bilinear", "--train_crop=none"), "the digits have the input's size already"),
        (("--remat", "--sync_batch_norm"), "exclude each other"),
        (("--model_dir=",), "--model_dir= is empty"),
        (("--train_batch_size=2000",), "train_batch_size 2000 is more than the 1437 training images"),
        (("--train_epochs=inf",), "train_epochs inf is not a finite number"),
        (("--lr_warmup_epochs=nan",), "lr_warmup_epochs nan is not a finite number"),
        (("--advprop", "--attack=ifgsm", "--attack_random_start"), "random_start must be false"),
    ],
)
def test_contradictory_flags_and_flags_without_effect_are_refused(arguments, message):
    with pytest.raises(RecipeError, match=message):
        parsed(*arguments)


def test_flags_change_the_recipe_and_nothing_else():
    plain = parsed("--model=efficientnet-b3", "--advprop").recipe
    assert (plain.network.name, plain.scheme, plain.data.dataset) == ("efficientnet-b3", "advprop", "digits")
    assert plain.attack.num_steps == 4
    changed = parsed("--model_name=efficientnet-b3", "--advprop", "--lr_warmup_epochs=2", "--attack=ifgsm").recipe
    assert differences(plain, changed) == [
        "optimizer.lr_warmup_epochs: 1.0 -> 2.0",
        "attack.method: pgd -> ifgsm",
        "attack.random_start: True -> False",
    ]


def test_flags_of_the_step_schedule_and_of_batch_norm_decay():
    step = parsed("--lr_schedule=step", "--lr_step_epochs=2,4.5", "--lr_decay_factor=0.1", "--decay_batch_norm").recipe
    assert differences(parsed().recipe, step) == [
        "optimizer.lr_schedule: cosine -> step",
        "optimizer.lr_step_epochs: () -> (2.0, 4.5)",
        "optimizer.lr_decay_factor: 0.97 -> 0.1",
        "optimizer.decay_batch_norm: False -> True",
    ]
    resnet = parsed("--model=resnet-50", "--data_dir=x", "--lr_step_epochs=30,60,90", "--resize=bicubic").recipe
    assert resnet.optimizer.lr_step_epochs == (30.0, 60.0, 90.0)
    assert resnet.data.resize == "bicubic"
    assert parsed("--resize=bilinear", "--eval_crop=0.875").recipe.data.resize == "bilinear"


def test_a_changed_recipe_has_no_expected_result():
    assert parsed("--advprop").recipe.provenance.measured
    assert parsed("--advprop", "--eval_batch_size=8").recipe.provenance.measured
    assert not parsed("--advprop", "--width_coefficient=0.5").recipe.provenance.measured


def test_every_recipe_flag_names_a_value_of_the_recipe():
    known = set(flatten(parsed().recipe))
    paths = [flag.path for flag in flags.RECIPE_FLAGS]
    assert set(paths) <= known
    assert len(set(paths)) == len(paths)


def test_default_folder_names_data_model_and_scheme():
    assert parsed("--model=efficientnet-b7", "--advprop").options.model_dir == "runs/digits-efficientnet-b7-advprop"
    assert parsed("--data_dir=x").options.model_dir == "runs/imagenet-efficientnet-b0-vanilla"


def test_what_was_counted_becomes_the_recipes():
    facts = DataFacts("x", num_label_classes=7, num_train_images=5000, num_eval_images=300)

    def recipe_of(facts, *arguments):
        return flags.settings_from_flags(set_flags("--data_dir=x", *arguments), facts).recipe

    recipe = recipe_of(facts)
    assert (recipe.data.num_label_classes, recipe.data.num_train_images, recipe.data.num_eval_images) == (7, 5000, 300)
    assert not recipe.provenance.measured
    with pytest.raises(RecipeError, match="num_eval_images is 299, but x holds 300 evaluation images"):
        recipe_of(facts, "--num_eval_images=299")
    with pytest.raises(
        RecipeError, match="needs --num_train_images and --num_eval_images where images are not counted"
    ):
        recipe_of(DataFacts("x"), "--holdout_shards=20")


def test_a_longer_run_under_a_constant_rate_continues(tmp_path):
    short = parsed("--lr_schedule=constant", "--train_epochs=1").recipe
    longer = parsed("--lr_schedule=constant", "--train_epochs=2").recipe
    run_folder.record_recipe(str(tmp_path), short)
    (tmp_path / "checkpoints").mkdir()
    run_folder.check(str(tmp_path), longer)
    run_folder.record_recipe(str(tmp_path), longer)
    assert run_folder.recorded_recipe(str(tmp_path)) == longer
    with pytest.raises(RecipeError, match=r"train_epochs: 2\.0 -> 1\.0"):
        run_folder.check(str(tmp_path), short)


@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe", b"", None])
def test_a_damaged_record_is_one_clear_error(tmp_path, content):
    path = tmp_path / "recipe.json"
    path.mkdir() if content is None else path.write_bytes(content)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RecipeError, match=r"recipe\.json"):
        run_folder.check(str(tmp_path), parsed().recipe)


@pytest.mark.parametrize("content", ["{}", "[]", "{", ""])
def test_a_damaged_summary_is_one_clear_error(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(RecipeError, match=r"summary\.json cannot be read: .*; remove it"):
        run_folder.read_summary(str(tmp_path))


def test_the_recipe_of_a_run_without_a_checkpoint_may_be_replaced(tmp_path):
    """After an out-of-memory error in the first step, a corrected command can use the same folder."""
    run_folder.record_recipe(str(tmp_path), parsed().recipe)
    corrected = parsed("--train_batch_size=8").recipe
    run_folder.check(str(tmp_path), corrected)
    run_folder.record_recipe(str(tmp_path), corrected)
    assert run_folder.recorded_recipe(str(tmp_path)) == corrected

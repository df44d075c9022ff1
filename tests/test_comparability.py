"""Values that are neither averaged nor subtracted: other images, attacks, corruptions, input sizes."""

import dataclasses

import pytest

from efficientnet_advprop.evaluation import Column, compare
from tests.made_up_results import CLEAN, attacked, corrupted, part, run_in


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (part(0.8), part(0.8, set="elsewhere"), "set 0123456789 against elsewhere"),
        (part(0.8), part(0.8, images=1000), "images counted 50,000 against 1,000"),
        # The same images, two of which could not be read.
        (
            part(0.8),
            dataclasses.replace(part(0.8), images=49_998, bad_images=2),
            "images counted 50,000 against 49,998",
        ),
    ],
)
def test_other_images_are_not_subtracted(ours, theirs, why, tmp_path):
    first = run_in(tmp_path / "a", {"clean": ours, "imagenet_v2": part(0.7)}, scheme="vanilla", recipe="v")
    second = run_in(tmp_path / "b", {"clean": theirs, "imagenet_v2": part(0.75)}, recipe="a")
    comparison = compare([first, second])
    row = comparison.rows[1]
    assert CLEAN in row.values
    assert list(row.differences) == [Column("imagenet_v2", "main", "top1")]
    assert comparison.notes == (
        "efficientnet-b7, advprop: no difference to efficientnet-b7, vanilla, from which it differs in "
        f"{why}: clean evaluation images",
    )


def test_other_attacks_and_classes_are_not_subtracted(tmp_path):
    rows = [(1, 0.9, 0.5, 0.4), (4, 0.9, 0.3, 0.1)]
    first = run_in(tmp_path / "a", attacked("linf", rows), recipe="v")
    second = run_in(tmp_path / "b", attacked("linf", rows, steps=20), recipe="a")
    assert compare([first, second]).rows[1].differences == {}
    (note,) = compare([first, second]).notes
    assert "differs in attack PGD-10 linf against PGD-20 linf: PGD linf, epsilon 1 px; PGD linf, epsilon 4 px" in note
    other_branch = run_in(tmp_path / "c", attacked("linf", rows, branch="auxiliary"), recipe="a")
    assert compare([first, other_branch]).rows[1].values == {}
    assert "went through the auxiliary branch: it is not compared" in compare([first, other_branch]).notes[0]
    ten = run_in(tmp_path / "d", attacked("linf", rows), recipe="a", class_names=tuple("abcdefghij"))
    (note,) = compare([first, ten]).notes
    assert "differs in number of classes 1,000 against 10" in note


def test_last_and_any_are_neither_averaged_nor_subtracted(tmp_path):
    kinds = ("any", "last", "any")
    attacks = [attacked("linf", [(4, 0.9, 0.3, 0.1 * seed)], success=kind) for seed, kind in enumerate(kinds)]
    row = [run_in(tmp_path / str(seed), parts, recipe="r", seed=seed) for seed, parts in enumerate(attacks)]
    assert compare(row).rows[0].values == {}
    assert "differ in success any against last: PGD linf, epsilon 4 px" in compare(row).notes[0]
    other = run_in(tmp_path / "other", attacks[0], recipe="other")
    assert compare([row[1], other]).rows[1].differences == {}


def test_means_over_six_and_fifteen_corruptions_are_neither_averaged_nor_subtracted(tmp_path):
    names = ("gaussian_noise", "contrast")
    few = corrupted("corruptions", corruptions=", ".join(names))
    few = {key: value for key, value in few.items() if key.split("/")[1] in names}
    every = corrupted("corruptions", extra=False, corruptions="all")
    mean, shared = (
        Column("corruptions", "main", "top1"),
        [Column(f"corruptions/{name}", "main", "top1") for name in names],
    )
    one, other = (run_in(tmp_path / name, parts, recipe=name) for name, parts in (("few", few), ("every", every)))
    comparison = compare([one, other])
    assert all(mean in row.values for row in comparison.rows)
    assert list(comparison.rows[1].differences) == shared
    assert [note.partition("differs in ")[2] for note in comparison.notes] == [
        "corruptions gaussian_noise, contrast against all: corruptions on the fly"
    ]
    again = run_in(tmp_path / "again", every, recipe="few", seed=1)
    (row,) = compare([one, again]).rows
    assert mean not in row.values
    assert set(shared) <= set(row.values)
    # Other corruptions alone: nothing is shared.
    fog = {key: value for key, value in every.items() if "/fog/" in key}
    fog = {key: dataclasses.replace(of, settings={**of.settings, "corruptions": "fog"}) for key, of in fog.items()}
    assert compare([one, run_in(tmp_path / "fog", fog, recipe="fog")]).rows[1].differences == {}


def test_input_sizes_may_differ_except_where_the_input_is_changed(tmp_path):
    def parts(size, crop):
        own = {"input_image_size": size, "eval_crop": crop, "seed": size}
        return {
            "imagenet": part(0.8, **own),
            **corrupted("imagenet_c", resize="model", **own),
            **corrupted("corruptions", **own),
            **{key: dataclasses.replace(of, settings={**of.settings, **own}) for key, of in attacks.items()},
        }

    attacks = attacked("linf", [(4, 0.9, 0.3, 0.1)]) | attacked("l2", [(128, 0.9, 0.3, 0.1)])
    small = run_in(tmp_path / "a", parts(224, "0.875"), recipe="v", input_image_size=224)
    large = run_in(tmp_path / "b", parts(600, "32px"), recipe="a")
    comparison = compare([small, large])
    assert [column.title for column in comparison.rows[1].differences if not column.corruption] == [
        "ImageNet",
        "ImageNet-C, mCE",
        "ImageNet-C, mean error",
        "PGD linf, epsilon 4 px",
    ]
    (note,) = comparison.notes
    assert "input_image_size 224 against 600: corruptions on the fly; PGD l2, epsilon 128 px" in note
    native = run_in(tmp_path / "c", corrupted("imagenet_c", resize="native"), recipe="a")
    (note,) = compare([small, native]).notes
    assert "resize model against native: ImageNet-C, mCE; ImageNet-C, mean error" in note


def test_a_row_of_runs_on_different_images_has_no_mean(tmp_path):
    first = run_in(tmp_path / "a", {"clean": part(0.8), "imagenet_v2": part(0.7)}, seed=0)
    second = run_in(tmp_path / "b", {"clean": part(0.8, set="elsewhere")}, seed=1)
    comparison = compare([first, second])
    (row,) = comparison.rows
    assert [column.title for column in row.values] == ["ImageNetV2"]
    assert comparison.notes == (
        "efficientnet-b7, advprop: no mean over its runs, which differ in set 0123456789 against elsewhere: "
        "clean evaluation images",
        "efficientnet-b7, advprop: measured in only 1 of 2 runs: ImageNetV2",
    )


def test_a_partial_set_is_not_compared(tmp_path):
    parts = corrupted("imagenet_c")
    del parts["imagenet_c/fog/3"]
    comparison = compare([run_in(tmp_path, {**parts, "clean": part(0.5)})])
    assert [column for column in comparison.columns if not column.corruption] == [CLEAN]
    assert len(comparison.columns) == 1 + 14  # and the single corruptions that are whole
    assert comparison.notes == (f"{tmp_path}: ImageNet-C is partial, without fog at severity 3: not compared",)

"""A benchmark is one object: flags, passes, results, reports and comparisons follow from its entry."""

import re

import pytest

import flags
from efficientnet_advprop.data.class_names import class_names, imagenet_synsets
from efficientnet_advprop.evaluation import EvaluatedRun, compare, find_sets, plan_passes
from efficientnet_advprop.recipes import BENCHMARKS, Benchmark, RecipeError, named_recipe
from efficientnet_advprop.reporting import evaluation_table, write_evaluation_figures, write_evaluation_report
from tests.command_line import set_flags
from tests.made_up_results import branches, part, results_in
from tests.test_evaluation_report import section_of, tables_of
from tests.test_imagenet_variants import write_folders

IMAGENET_O = Benchmark(
    "imagenet_o",
    "ImageNet-O",
    num_images=2_000,
    metrics=("top1_of_3", "top1"),
    classes=(1, 6, 11),
    cropped_px=224,
    tfds_name="imagenet_o",
    folders=("imagenet-o",),
)


def benchmarks_of(*arguments):
    values = set_flags("--mode=eval", *arguments)
    flags.refuse_contradictions(values)
    return flags.settings_from_flags(values).options.benchmarks


def test_one_entry_is_a_benchmark(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="unknown benchmark 'imagenet_o'"):
        benchmarks_of("--benchmarks=imagenet_o")
    monkeypatch.setitem(BENCHMARKS, "imagenet_o", IMAGENET_O)
    # Flags: the name is known, and only the flags of its kind are read.
    folder = tmp_path / "data"
    spec = benchmarks_of(
        "--benchmarks=imagenet_o", f"--benchmark_dir=imagenet_o={folder}", "--robustness_resize=native"
    )
    with pytest.raises(RecipeError, match="--eval_crop would have no effect"):
        benchmarks_of("--benchmarks=imagenet_o", "--eval_crop=none")
    # Images: layout, classes, crop, one pass.
    synsets = imagenet_synsets()
    message = f"imagenet_o: no class folders such as n01440764, imagenet-o/ or imagenet_o/ of TFDS in {folder}"
    folder.mkdir()
    with pytest.raises(RecipeError, match=re.escape(message)):
        find_sets(spec, class_names(1000))
    write_folders(folder / "imagenet-o", [synsets[1], synsets[2]])
    with pytest.raises(RecipeError, match=r"\(label 2\), which is none of its 3 classes"):
        find_sets(spec, class_names(1000))
    sets = {"imagenet_o": None}
    (one,) = plan_passes(named_recipe("efficientnet-b3", "imagenet", "advprop"), None, spec, sets)
    assert (one.key, one.recipe.network.input_image_size, one.recipe.data.eval_crop) == ("imagenet_o", 224, "none")
    assert one.benchmark.classes == (1, 6, 11)
    # Results: kept, reported, compared.
    parts = {"imagenet_o": part(branches(0.3, 0.2, top1_of_3=0.6), images=2_000, confusions={"main": [["a", "b", 3]]})}
    results = results_in(tmp_path, parts)
    assert "ImageNet-O, 3-way" in evaluation_table(results)
    write_evaluation_figures(str(tmp_path), results)
    write_evaluation_report(str(tmp_path), results, "command", ())
    text = (tmp_path / "report.md").read_text()
    rows = {row["branch"]: row for row in tables_of(text)[0]}
    assert (rows["main"]["top-1"], rows["main"]["strict 1000-way top-1"]) == ("60.00", "30.00")
    assert "3 classes" in text
    assert "- images: all" in section_of(text, "ImageNet-O")
    comparison = compare([EvaluatedRun("a", results)])
    found = {column.title: comparison.rows[0].values[column].mean for column in comparison.columns}
    assert found == {"ImageNet-O, 3-way": 0.6, "ImageNet-O, 1000-way": 0.3}


def test_names_and_titles_are_unique():
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())
    assert len({benchmark.title for benchmark in BENCHMARKS.values()}) == len(BENCHMARKS)

"""ImageNet's test sets in the layouts that their authors distribute: where images are, and which label each has."""

import dataclasses
import io
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from efficientnet_advprop.data import find_corrupted_sets, imagenet_variants
from efficientnet_advprop.data.class_names import class_names, imagenet_synsets
from efficientnet_advprop.evaluation import SEVERITIES, find_sets
from efficientnet_advprop.recipes import BENCHMARKS, BenchmarkSpec, RecipeError, named_recipe
from tests.test_sources import example

SYNSETS = imagenet_synsets()
IMAGENET_C = BENCHMARKS["imagenet_c"]


def open_imagenet_variant(name, folder):
    return imagenet_variants.open_imagenet_variant(BENCHMARKS[name], folder)


def jpeg(grey=100):
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 24, 3), grey, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_folders(folder, names, images=2):
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            (folder / name / f"{number}.JPEG").write_bytes(jpeg(number))
    (folder / "README.txt").write_text("about the set")


def labels_of(source):
    records = source.records(named_recipe("efficientnet-b0", "imagenet", "vanilla"), "evaluation")
    return [int(source.read(record)[1]) for _, record in records]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("imagenet", "val"),
        ("imagenet", "validation"),
        ("imagenet", ""),
        ("imagenet_a", "imagenet-a"),
        ("imagenet_a", ""),
        ("imagenet_r", "imagenet-r"),
        ("imagenet_sketch", "sketch"),
        ("stylized", "val"),
    ],
)
def test_synset_folders_have_imagenets_labels_however_few_there_are(tmp_path, name, inside):
    shown = (6, 11, 151)
    write_folders(tmp_path / inside, [SYNSETS[label] for label in shown])
    source = open_imagenet_variant(name, str(tmp_path))
    assert labels_of(source) == [6, 6, 11, 11, 151, 151]
    assert (source.facts.num_eval_images, source.facts.num_label_classes) == (6, 1000)


def test_imagenet_v2_names_its_folders_by_label_and_their_sorted_names_are_not_in_order(tmp_path):
    write_folders(tmp_path / "imagenetv2-matched-frequency-format-val", [str(label) for label in (0, 2, 10, 999)], 1)
    assert sorted(labels_of(open_imagenet_variant("imagenet_v2", str(tmp_path)))) == [0, 2, 10, 999]


def test_official_tfrecords_are_imagenet_too(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "validation-00000-of-00001")) as writer:
        for label in (1, 1000):
            writer.write(example(jpeg(), label))
    assert labels_of(open_imagenet_variant("imagenet", str(tmp_path))) == [0, 999]


@pytest.mark.parametrize("grouped", [False, True])
def test_imagenet_c_finds_what_is_there_with_and_without_the_groups_of_its_archives(tmp_path, grouped):
    there = [("noise", "shot_noise", 1), ("noise", "shot_noise", 5), ("digital", "contrast", 3)]
    for group, corruption, severity in there:
        folder = tmp_path / group / corruption if grouped else tmp_path / corruption
        write_folders(folder / str(severity), [SYNSETS[severity]], 1)
    found = find_corrupted_sets(IMAGENET_C, str(tmp_path), SEVERITIES)
    assert list(found) == [(corruption, severity) for _, corruption, severity in there]
    assert {key: labels_of(opened()) for key, opened in found.items()} == {key: [key[1]] for key in found}


class ImagenetA(tfds.core.GeneratorBasedBuilder):
    """A small data set under the name of one in TensorFlow Datasets."""

    name = "imagenet_a_of_this_test"
    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(num_classes=1000)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples()}

    def _generate_examples(self):
        for number, label in enumerate((6, 151)):
            yield number, {"image": io.BytesIO(jpeg()), "label": label}


def test_a_set_of_tensorflow_datasets_is_read_where_it_is_prepared(tmp_path, monkeypatch):
    there = dataclasses.replace(BENCHMARKS["imagenet_a"], tfds_name=ImagenetA.name)
    monkeypatch.setitem(BENCHMARKS, "imagenet_a", there)
    missing = refusal(open_imagenet_variant, "imagenet_a", None)
    assert "is not prepared in" in missing
    assert missing.endswith("or give --benchmark_dir=imagenet_a=FOLDER")
    ImagenetA(data_dir=tmp_path).download_and_prepare()
    assert sorted(labels_of(open_imagenet_variant("imagenet_a", str(tmp_path)))) == [6, 151]


class Corrupted(ImagenetA):
    """A small ImageNet-C, whose parts are configurations in TensorFlow Datasets."""

    name = "imagenet_c_of_this_test"
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config) for config in ("fog_2", "snow_1")]  # noqa: RUF012


def test_imagenet_c_of_tensorflow_datasets_is_what_has_been_prepared(tmp_path, monkeypatch):
    there = dataclasses.replace(IMAGENET_C, tfds_name=Corrupted.name)
    Corrupted(config="fog_2", data_dir=tmp_path).download_and_prepare()
    found = find_corrupted_sets(there, str(tmp_path), SEVERITIES)
    assert list(found) == [("fog", 2)]
    assert sorted(labels_of(found["fog", 2]())) == [6, 151]
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert list(find_corrupted_sets(there, None, SEVERITIES)) == [("fog", 2)]


def refusal(function, *arguments):
    with pytest.raises(RecipeError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_folder_and_a_wrong_layout_are_named(tmp_path):
    for name in (name for name, benchmark in BENCHMARKS.items() if benchmark.folders):
        assert refusal(open_imagenet_variant, name, str(tmp_path / "none")) == f"{name}: no folder {tmp_path}/none"
        message = refusal(open_imagenet_variant, name, str(tmp_path))
        assert re.match(rf"{name}: no class folders such as n01440764, .* or .* in {tmp_path}$", message), message
    assert refusal(find_corrupted_sets, IMAGENET_C, str(tmp_path), SEVERITIES) == (
        f"imagenet_c: no gaussian_noise/1/n01440764/ or the like, and no imagenet2012_corrupted/ of TFDS, in {tmp_path}"
    )
    assert "is not in TensorFlow Datasets" in refusal(open_imagenet_variant, "stylized", None)


def test_folders_of_other_classes_are_named(tmp_path):
    write_folders(tmp_path, [SYNSETS[6], "n99999999"])
    message = refusal(open_imagenet_variant, "imagenet_sketch", str(tmp_path))
    assert message == f"class folder {tmp_path}/n99999999 is not one of ImageNet's 1000"


def test_an_empty_class_folder_is_named(tmp_path):
    write_folders(tmp_path, [SYNSETS[6]])
    (tmp_path / SYNSETS[7]).mkdir()
    assert refusal(open_imagenet_variant, "imagenet", str(tmp_path)).endswith("has no JPEG, PNG, GIF or BMP files")


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_class_outside_the_200_is_refused(tmp_path, name):
    classes = BENCHMARKS[name].classes
    outside = next(label for label in range(1000) if label not in classes)
    write_folders(tmp_path, [SYNSETS[outside], SYNSETS[classes[0]]])
    message = refusal(find_sets, BenchmarkSpec((name,), {name: str(tmp_path)}), class_names(1000))
    assert f"(label {outside}), which is none of its 200 classes" in message

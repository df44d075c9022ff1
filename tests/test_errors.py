"""What is quoted of other errors: one line, whatever they say."""

import errno

import pytest
import tensorflow as tf

import main
from efficientnet_advprop import recipes
from efficientnet_advprop.data import bad_image_in, reason_without_ops
from tpu_utils import errors as device_errors


@pytest.mark.parametrize("first_line", [recipes.first_line, device_errors.first_line])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one \r\n two"), "one"),
        (ValueError(), "ValueError"),
        (recipes.RecipeError(" \n "), "RecipeError"),
        (FileNotFoundError(2, "No such file", "/x"), "[Errno 2] No such file: '/x'"),
        (tf.errors.InvalidArgumentError(None, None, "one\n\t [[{{node Add}}]]"), "one"),
        (tf.errors.DataLossError(None, None, ""), "DataLossError"),
    ],
)
def test_an_error_is_quoted_by_its_first_line(first_line, error, line):
    assert first_line(error) == line


def test_the_message_of_an_error_comes_before_what_it_prints():
    class WithTrace(Exception):
        message = "one\ntwo"

        def __str__(self):
            return "\n\nOriginal stack trace"

    assert recipes.first_line(WithTrace()) == "one"


def test_names_with_control_characters_stay_on_one_line():
    assert recipes.one_line("a\nb\r\x1b[2J\u2028é 中\udcff") == "a\\nb\\r\\x1b[2J\\u2028é 中\\udcff"


def test_a_bad_image_is_named_also_where_its_path_has_two_lines():
    message = "assertion failed: [bad image: /a\nb.png: cannot be read or decoded]\n\t [[{{node Assert}}]]"
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert bad_image_in(error) == "bad image: /a\nb.png: cannot be read or decoded"


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "runs/x"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "a file"),
        (tf.errors.ResourceExhaustedError(None, None, "runs/x.tmp; No space left on device"), "runs/x.tmp"),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{function_node __wrapped__SaveV2}} runs/a b; No space left on device [Op:SaveV2]"
            ),
            "runs/a b",
        ),
    ],
)
def test_a_full_disk_is_told_in_plain_words(error, path):
    assert main.explain(error).startswith(f"no space is left for {path} (the disk is full, or a quota used up): free")


def test_other_errors_of_the_system_name_the_file():
    assert main.explain(OSError(errno.EPIPE, "Broken pipe", "a.fifo")) == "a.fifo: Broken pipe"
    assert "out of memory" in main.explain(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating; x"))


@pytest.mark.parametrize(
    "message",
    ["bytes are missing", "{{function_node __wrapped__Read}} bytes are missing [Op:Read]", "bytes are missing\n[[x]]"],
)
def test_names_of_operations_are_left_out(message):
    assert reason_without_ops(tf.errors.DataLossError(None, None, message)) == "bytes are missing"

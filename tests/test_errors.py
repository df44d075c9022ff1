"""What is quoted of other errors: one line, whatever they say."""

import pytest
import tensorflow as tf

from efficientnet_advprop import recipes
from efficientnet_advprop.data import reason_without_ops
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


@pytest.mark.parametrize(
    "message",
    ["bytes are missing", "{{function_node __wrapped__Read}} bytes are missing [Op:Read]", "bytes are missing\n[[x]]"],
)
def test_names_of_operations_are_left_out(message):
    assert reason_without_ops(tf.errors.DataLossError(None, None, message)) == "bytes are missing"

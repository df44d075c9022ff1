"""The error for invalid settings and input, and the first line of other errors."""


class RecipeError(ValueError):
    """An invalid setting or input. Its message is one line that names the value and what is allowed."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type when it has none.

    TensorFlow's errors hold their message in `message`; their `str` may append the stack trace of an operation.
    """
    lines = str(getattr(error, "message", None) or error).strip().splitlines()
    return lines[0].rstrip() if lines else type(error).__name__

"""The error for invalid settings and input, a check that raises it, and errors in one line."""

import difflib
import re
from collections.abc import Collection

_LONG = 30  # names; of more, the nearest are enough


class RecipeError(ValueError):
    """An invalid setting or input. Its message is one line that names the value and what is allowed."""


def require_known(what: str, value: str, known: Collection[str]) -> None:
    """Refuse a value of `what` that is none of the known ones; the RecipeError names the nearest and lists them."""
    if value not in known:
        raise RecipeError(f"unknown {what} {value!r}{names_instead(value, known)}")


def names_instead(value: str, known: Collection[str]) -> str:
    """What may have been meant by an unknown name, to append to the message that refuses it."""
    by_lower_case = {name.lower(): name for name in known}
    near = [by_lower_case[name] for name in difflib.get_close_matches(value.lower(), by_lower_case)]
    meant = f": did you mean {' or '.join(near)}?" if near else ";"
    if len(known) > _LONG:
        return f"{meant} {len(known)} names are known" + ("" if near else f", such as {', '.join(list(known)[:3])}")
    return f"{meant} known: {', '.join(known)}"


def one_line(text: str) -> str:
    """The text with its control characters escaped, such as a newline in the name of a file."""
    controls = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"  # and bytes of a name that is not UTF-8
    return re.sub(controls, lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type when it has none.

    TensorFlow's errors hold their message in `message`; their `str` may append the stack trace of an operation.
    """
    lines = str(getattr(error, "message", None) or error).strip().splitlines()
    return lines[0].rstrip() if lines else type(error).__name__

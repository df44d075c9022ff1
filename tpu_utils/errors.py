"""The error of every device request a user can get wrong."""


class DeviceError(ValueError):
    """A request that the devices cannot serve; its message is one line that names the request and what is needed."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, without the traces that TensorFlow appends; its type when it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip() if lines else type(error).__name__

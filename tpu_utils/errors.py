"""The error of every device request a user can get wrong."""


class DeviceError(ValueError):
    """A request that the devices cannot serve; its message is one line that names the request and what is needed."""


def first_line(error: Exception) -> str:
    """What an exception says, without the stack traces and attribute lists that TensorFlow appends."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__

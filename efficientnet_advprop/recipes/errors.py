"""The error of every value a user can get wrong."""


class RecipeError(ValueError):
    """A setting that cannot be run as given; its message is one line that names the value and what is allowed."""

"""EfficientNets of two blocks (one without and one with expansion), which are traced in a second or two.

`python -m tests.two_blocks` is `python main.py` on them.
"""

import contextlib
from collections.abc import Iterator

import pytest

from efficientnet_advprop.models import efficientnet


@contextlib.contextmanager
def two_block_networks() -> Iterator[None]:
    """EfficientNets built in this context have only the first two stages: two blocks at one block per stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet, "_B0_STAGES", efficientnet._B0_STAGES[:2])
        yield


if __name__ == "__main__":
    import main

    with two_block_networks():
        main.run()

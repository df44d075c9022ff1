"""Strips of images: names of classes stay whole, and captions keep to their columns."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from efficientnet_advprop.evaluation import AdversarialExamples
from efficientnet_advprop.reporting import image_rows, image_strip

NAMES = (
    "German short-haired pointer",
    "Chesapeake Bay retriever",
    "soft-coated wheaten terrier",
    "American Staffordshire terrier, Staffordshire terrier, American pit bull terrier, pit bull terrier",
    "Massachusetts_Bay_Colony_settlers_1630",
    "7",
)


def strip_of(names, classes) -> AdversarialExamples:
    number = len(classes)
    clean = np.full((number, 32, 32, 3), 100.0, np.float32)
    adversarial = clean + np.float32(2.0)
    labels, confidences = np.arange(number), np.linspace(0.004, 1, number)
    return AdversarialExamples(clean, adversarial, labels, labels, np.array(classes), confidences, confidences[::-1])


def drawn_captions(figure):
    """(text, extent in pixels) of the captions, a list for each row of images."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rows = {}
    for axis in figure.axes:
        label = axis.xaxis.label
        rows.setdefault(round(axis.get_position().y0, 3), []).append((label.get_text(), label.get_window_extent()))
    return list(rows.values()), canvas.get_width_height()


def assert_in_columns(figure):
    rows, (width, height) = drawn_captions(figure)
    for row in rows:
        for (_, left), (_, right) in itertools.pairwise(row):
            assert left.x1 <= right.x0 + 1
        for text, extent in row:
            assert not text or (extent.x0 >= -1 and extent.x1 <= width + 1 and -1 <= extent.y0 <= height)


@pytest.mark.parametrize("names", [NAMES, NAMES[:3], NAMES[-1:]], ids=["long words", "ImageNet", "digit"])
def test_names_in_a_strip_are_whole_and_keep_to_their_columns(names):
    figure = image_strip(strip_of(names, range(len(names))), names, "PGD-10 linf, epsilon 4 px")
    assert_in_columns(figure)
    (clean, adversarial, _), _ = drawn_captions(figure)
    percents = [f"({100 * of:.0f}\N{NO-BREAK SPACE}%)" for of in np.linspace(0.004, 1, len(names))]
    for place, name in enumerate(names):
        assert clean[place][0].replace("\n", " ") == f"label {name} predicted {name} {percents[place]}"
        assert adversarial[place][0].replace("\n", " ") == f"predicted {name} {percents[-1 - place]}"


def test_a_short_name_and_its_confidence_are_on_one_line():
    (_, adversarial, _), _ = drawn_captions(image_strip(strip_of("0123456789", [7, 3]), "0123456789", "title"))
    assert [text for text, _ in adversarial] == [
        "predicted 7 (100\N{NO-BREAK SPACE}%)",
        "predicted 3 (0\N{NO-BREAK SPACE}%)",
    ]


def test_the_contact_sheet_has_whole_names_too():
    images = [np.zeros((8, 8, 3), np.uint8)] * len(NAMES)
    figure = image_rows([("stored", images, [f"{name}\n8 x 8 px" for name in NAMES])], "training images")
    assert_in_columns(figure)
    (row,), _ = drawn_captions(figure)
    assert [text.replace("\n", " ") for text, _ in row] == [f"{name} 8 x 8 px" for name in NAMES]

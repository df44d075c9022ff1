"""The table of the networks against published numbers, and the committed table against the networks."""

from pathlib import Path

import pytest

from benchmarks.model_table import OUR_NETWORKS, numbers, report, write_page

TABLE = Path(__file__).parents[1] / "docs" / "models.md"


# Tan and Le, table 2; torchvision's model zoo. Batch norms counted by hand: 1 + 2 + 15 * 3 + 1, and 1 + 16 * 3 + 4.
@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds", "norms", "branch"),
    [("efficientnet-b0", 5_288_548, 0.39e9, 49, 42_016), ("resnet-50", 25_557_032, 4.09e9, 53, 53_120)],
)
def test_numbers_are_the_published_ones(name, parameters, multiply_adds, norms, branch):
    row = numbers(name)
    assert (row.parameters, row.batch_norms, row.branch_parameters, row.image_size) == (parameters, norms, branch, 224)
    assert row.blocks == 16
    assert row.multiply_adds == pytest.approx(multiply_adds, abs=0.005e9)  # published to two digits
    assert report([row]).splitlines()[-1].replace(" ", "") in TABLE.read_text().replace(" ", "").splitlines()


def test_the_committed_table_has_every_network():
    text = TABLE.read_text()
    assert [
        line.split()[1] for line in text.splitlines() if line.startswith(("| efficient", "| resnet", "| resnext"))
    ] == OUR_NETWORKS


def test_a_new_table_keeps_what_stands_around_it(tmp_path):
    page = tmp_path / "models.md"
    write_page(str(page), "## Networks\n\none\n")
    assert page.read_text() == "## Networks\n\none\n"
    page.write_text("# Models\n\n" + page.read_text() + "\n## More\n\ntext\n\n## And more\n")
    write_page(str(page), "## Networks\n\ntwo\n")
    assert page.read_text() == "# Models\n\n## Networks\n\ntwo\n\n## More\n\ntext\n\n## And more\n"

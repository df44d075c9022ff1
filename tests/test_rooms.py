"""The packages (rooms) and which of them each may import, as docs/extending.md lists them."""

import ast
import sys
from pathlib import Path

import pytest

import efficientnet_advprop

ROOT = Path(__file__).parents[1]
PACKAGE = "efficientnet_advprop"

COMMON = {
    "recipes",
    "paths",
    "files",
    "locks",
    "checkpoint_names",
    "randomness",
}  # every room but tpu_utils may use these
MAY_IMPORT = {
    "tpu_utils": set(),
    "recipes": set(),
    "paths": {"recipes"},
    "files": {"recipes", "paths"},
    "locks": {"recipes", "paths", "files"},
    "checkpoint_names": {"recipes", "paths", "files"},
    "threefry": set(),
    "randomness": {"threefry"},
    "barriers": set(),
    "flags": COMMON,
    "batch_norm": COMMON,
    "attacks": COMMON,
    "models": COMMON | {"batch_norm", "barriers"},
    "data": COMMON,
    "training": COMMON | {"attacks", "barriers"},
    "evaluation": COMMON | {"data", "attacks"},
    "export": COMMON | {"models", "data"},
    "reporting": COMMON | {"evaluation"},
    "keras_api": COMMON | {"batch_norm", "attacks", "models", "training"},
    # The modes combine all parts.
    "modes": COMMON
    | {"tpu_utils", "batch_norm", "attacks", "models", "data", "training", "evaluation", "export", "reporting"},
}


def room_of_module(module: str) -> str | None:
    """The room of a dotted module name; None for third-party modules and for the package itself."""
    first, *rest = module.split(".")
    if first in ("flags", "tpu_utils"):
        return first
    return rest[0] if first == PACKAGE and rest else None


def imported_modules(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import names no room"
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE)
    return modules


def files_of(room: str) -> list[Path]:
    folder = ROOT / room if room in ("flags", "tpu_utils") else ROOT / PACKAGE / room
    return sorted(folder.glob("**/*.py")) or [folder.with_suffix(".py")]


def test_every_module_is_in_a_room():
    names = {
        path.stem for path in (ROOT / PACKAGE).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert names - {"__init__"} == set(MAY_IMPORT) - {"flags", "tpu_utils"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_before_it(room):
    for file in files_of(room):
        imported = {room_of_module(module) for module in imported_modules(file)} - {None, room}
        assert imported <= MAY_IMPORT[room], file


def test_recipes_need_the_standard_library_alone():
    for file in files_of("recipes"):
        others = {module.split(".")[0] for module in imported_modules(file)} - {PACKAGE}
        assert others <= set(sys.stdlib_module_names), file


def test_one_module_imports_addons():
    files = [file for room in MAY_IMPORT for file in files_of(room)]
    users = [file for file in files if {name.split(".")[0] for name in imported_modules(file)} & {"tensorflow_addons"}]
    assert users == [ROOT / PACKAGE / "data" / "augment" / "addons.py"]


def test_no_room_asks_which_stack_it_runs_on():
    """The package's own `__init__` selects Keras, and one module asks whether Addons is installed."""
    words = ("sys.version", "__version__", "LEGACY_KERAS", "importlib.metadata", "tf_keras")
    users = [file for file in product_files() if any(word in file.read_text() for word in words)]
    assert users == []


def test_nothing_reaches_into_keras_and_no_bare_import_of_absl_flags():
    for file in [ROOT / "main.py", *(file for room in MAY_IMPORT for file in files_of(room))]:
        modules = imported_modules(file)
        assert not [module for module in modules if module == "keras" or module.startswith("keras.")], file
        assert "from absl import flags\n" not in file.read_text(), file


def product_files() -> list[Path]:
    return [ROOT / "main.py", *(file for room in MAY_IMPORT for file in files_of(room))]


@pytest.mark.parametrize("file", product_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_short(file):
    """Past these lengths a file or a function usually holds two things."""
    text = file.read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in long.items() if lines > 60} == {}
    assert text.count("\n") <= 300


def test_no_room_imports_main_or_flags():
    for room in set(MAY_IMPORT) - {"flags"}:
        for file in files_of(room):
            assert not {module.split(".")[0] for module in imported_modules(file)} & {"main", "flags"}, file


def test_public_names_are_there():
    """Imported on first access: a wrong module in the table would show only then."""
    for name in efficientnet_advprop.__all__:
        assert getattr(efficientnet_advprop, name).__name__ == name

"""The layers of the package: a module imports only from the layers below its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ganlab"
FILES = sorted(PACKAGE.rglob("*.py"))
# Folders, and top-level modules. Each layer may import those before it, and nothing of its own layer.
LAYERS = [
    {"core"},
    {"filesystem", "functional", "networks", "data", "augmentations"},
    {"objectives", "tricks"},
    {"game"},
    {"games"},
    {"metrics"},
    {"config"},
    {"visualize"},
    {"measure", "monitoring"},
    {"training"},
    {"theory"},
    {"studies"},
    {"help"},
    {"cli"},
    {
        "run",
        "sample",
        "figures",
        "evaluate",
        "compare",
        "health",
        "ablate",
        "report",
        "listings",
        "translate",
    },
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
LIGHTNING = {"training"}
HYDRA = {"config", "visualize", "measure", "monitoring", "training", "studies", "cli", *LAYERS[-2]}


def part(path: Path) -> str:
    """The folder of a file in the package, or its own name at the top level."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imports(path: Path, deferred: bool = True) -> set[str]:
    """The modules that a file imports, except those under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    annotating = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree) if deferred else tree.body:
        if id(node) in annotating:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    here = part(path)
    for module in imports(path):
        if module.startswith("ganlab."):
            other = module.split(".")[1]
            assert RANK[other] < RANK[here] or other == here, f"{here} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_frameworks_are_imported_in_few_folders(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports(path)}
    assert "pytorch_lightning" not in roots or part(path) in LIGHTNING
    assert not roots & {"hydra", "omegaconf"} or part(path) in HYDRA


def test_the_command_line_starts_without_torch() -> None:
    commands = (*LAYERS[-2], "__main__", "cli", "help")
    for name in (*commands, "core/errors", "config/compose"):
        heavy = {"torch", "pytorch_lightning", "wandb", "torchvision", "matplotlib"}
        assert not imports(PACKAGE / f"{name}.py", deferred=False) & heavy


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_devices_are_named_in_few_places(path: Path) -> None:
    if part(path) in {"data", "metrics"} or path.stem == "randomness":
        return
    text = path.read_text()
    assert ".cuda" not in text
    assert '"cuda' not in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_has_more_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300

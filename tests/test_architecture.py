"""The shape of the package: imports go one way, heavy things come late, everything public says what it does."""

import ast
import doctest
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "mien"
MODULES = {
    ".".join(("mien", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}

# From left to right as data travels: a module imports only what stands before it. A folder stands for all of its own.
ROWS = (
    "mien",
    "errors extras files progress downloads parallel workspace reading parquet trust registry environment intervals "
    "images latex html_table",
    "faces",
    "data audit protocols",
    "augment models losses optimizers",
    "metrics",
    "tasks experiment",
    "runs inference training evaluation comparison",
    "landmarks cropping explanation report prediction",
    "workflow diagnosis side_by_side sweep api reproduce serving",
    "cli __main__",
)
ORDER = [name for row in ROWS for name in row.split()]

COMPONENTS = ("augment", "models", "losses", "optimizers")


def unit(module: str) -> str:
    """The entry of ORDER that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in it; the face names some for types alone."""
    if module == "mien":
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            # `from mien import environment` imports a module, `from mien.files import replacing` doesn't.
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in inside if name in MODULES] or [str(node.module)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "mien")


def test_every_module_has_a_place() -> None:
    assert sorted({unit(module) for module in MODULES}) == sorted(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    own = unit(module)
    wrong = [name for name in imports(module) if unit(name) != own and ORDER.index(unit(name)) > ORDER.index(own)]
    assert wrong == [], f"{module} imports to its right"


@pytest.mark.parametrize("module", [module for module in MODULES if unit(module) in COMPONENTS])
def test_components_take_parameters_and_not_the_experiment(module: str) -> None:
    known = {unit(name) for name in imports(module)}
    assert known <= {"errors", "registry", "faces", *COMPONENTS}


def test_only_the_verbs_read_the_command_line() -> None:
    readers = {
        unit(module)
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == "argv")
        or (isinstance(node, ast.ImportFrom) and node.module == "sys" and "argv" in {one.name for one in node.names})
    }
    assert readers == {"cli"}


def test_imports_of_the_package_make_no_circle() -> None:
    graph = {module: set(imports(module)) - {module} for module in MODULES}
    while free := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in free:
            del graph[module]
    assert graph == {}


PROBE = """
import json, sys
before = set(sys.modules)
sys.argv = ["mien", *{arguments}]
try:
    {code}
except SystemExit as stop:
    assert not stop.code, stop.code
print()
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """The top-level modules that some code loads in a new Python."""
    text = PROBE.format(code=code, arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"torch", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "PIL", "cv2", "matplotlib", "kornia", "pydantic"}
HEAVY |= {"pytorch_lightning", "ruamel", "safetensors", "jinja2", "optuna", "sqlalchemy"}


def test_help_loads_nothing_heavy() -> None:
    found = loaded("import mien.cli; mien.cli.main()", "--help")
    assert "typer" in found
    assert found & HEAVY == set()


def test_the_package_alone_loads_nothing() -> None:
    assert loaded("import mien; mien.__version__") == {"mien", "typing", *loaded("import typing")} - {"json"}
    assert loaded("import mien; mien.open_workspace, mien.train, mien.Run") & (HEAVY | {"typer", "rich"}) == set()


def test_checking_names_needs_no_training() -> None:
    found = loaded("import mien.runs.run, mien.experiment.schema, mien.data.dataset")
    assert found & {"torch", "pytorch_lightning", "matplotlib", "sklearn", "kornia"} == set()
    assert found & {"pydantic", "ruamel"} == {"pydantic", "ruamel"}


def public(module: str) -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods of a module by name; overridden hooks of other libraries too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    yield module, tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{module}.{node.name}", node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{module}.{node.name}.{inner.name}", inner


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_says_what_it_does(module: str) -> None:
    silent = [name for name, node in public(module) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert silent == []


# Those of the API run in a workspace with runs, in tests/api.
EXAMPLES = [name for name, file in MODULES.items() if ">>>" in file.read_text("utf-8") and unit(name) != "api"]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_no_module_is_a_drawer() -> None:
    assert {Path(file).stem for file in MODULES.values()} & {"utils", "util", "helpers", "misc", "common"} == set()


def test_no_module_has_the_name_of_a_standard_one() -> None:
    assert {module.rpartition(".")[2] for module in MODULES} & sys.stdlib_module_names == set()


TASK_NAMES = {"expression", "landmarks"}
# Code outside the tasks' folder: the package's, and what writes results/.
OUTSIDE = {module: file for module, file in MODULES.items() if unit(module) != "tasks"}
OUTSIDE |= {file.name: file for file in sorted((REPOSITORY / "results").glob("*.py"))}


def constants(node: ast.AST) -> set[object]:
    """The constants in an expression or pattern, also inside of lists of them."""
    return {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)}


def decisions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where code decides between tasks itself instead of asking one: line and what stands there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = [side for side in sides if isinstance(side, ast.Constant | ast.Tuple | ast.List | ast.Set)]
        elif isinstance(node, ast.match_case):
            named = [node.pattern]
        else:
            named = []
        if any(constants(side) & TASK_NAMES for side in named):
            yield node.lineno if isinstance(node, ast.Compare) else 0, "a task by its name"
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
            if isinstance(test, ast.Name) and test.id == "points":
                yield node.lineno, "if points"
        names = [getattr(node, key, None) for key in ("id", "attr", "name", "arg", "asname")]
        if "of_points" in names:
            yield getattr(node, "lineno", 0), "of_points"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if task == 'landmarks': pass", ["a task by its name"]),
        ("x = 1 if name in ('expression', 'other') else 2", ["a task by its name"]),
        ("match task:\n  case 'expression' | 'x': pass", ["a task by its name"]),
        ("x = 1 if not points else 2", ["if points"]),
        ("from a import of_points\nif of_points(run): pass", ["of_points", "of_points"]),
        ("columns['landmarks'] = task.name == other.name if points is None else 2", []),
    ],
)
def test_decisions_are_found(text: str, expected: list[str]) -> None:
    assert [what for _, what in decisions(ast.parse(text))] == expected


@pytest.mark.parametrize("name", OUTSIDE)
def test_tasks_alone_know_tasks(name: str) -> None:
    assert list(decisions(ast.parse(OUTSIDE[name].read_text(encoding="utf-8")))) == []


def named_parts(file: Path) -> list[str]:
    """The functions that a file names as text, as "mien.evaluation.landmarks:measure_run"."""
    texts = constants(ast.parse(file.read_text(encoding="utf-8")))
    return [text for text in texts if isinstance(text, str) and re.fullmatch(r"mien(\.\w+)+:\w+", text)]


def test_what_tasks_name_as_text_is_there() -> None:
    parts = [part for module, file in MODULES.items() if module not in OUTSIDE for part in named_parts(file)]
    assert len(parts) >= 15
    missing = []
    for part in parts:
        module, _, name = part.partition(":")
        if not callable(getattr(importlib.import_module(module), name, None)):
            missing.append(part)
    assert missing == []


def test_tasks_alone_name_functions_as_text() -> None:
    assert {name: named for name, file in OUTSIDE.items() if (named := named_parts(file))} == {}


def test_a_task_is_found_without_what_it_needs_later() -> None:
    found = loaded("import mien.tasks; mien.tasks.find_task('landmarks'); mien.tasks.find_task('expression')")
    assert found & {"torch", "pytorch_lightning", "scipy", "sklearn", "matplotlib", "kornia"} == set()

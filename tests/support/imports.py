"""What a file of the package imports from the package: at its top, inside functions, for types only, by `import_module`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def modules(package: Path) -> dict[str, Path]:
    """Return the package's modules by their dotted names; a folder stands for its `__init__.py`."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(source: str, module: str, known: dict[str, Path]) -> set[str]:
    """Return the modules among the known ones that a module's source imports, itself left out."""
    is_package = known[module].name == "__init__.py" if module in known else False
    package = module if is_package else module.rpartition(".")[0]
    nearest = {_nearest(name, known) for name in _names(ast.parse(source), package, known)}
    return {name for name in nearest if name} - {module}


def _names(tree: ast.AST, package: str, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            constants = (argument for argument in node.args[:1] if isinstance(argument, ast.Constant))
            yield from (_absolute(str(constant.value), package) for constant in constants)


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name[level:]])])


def _nearest(name: str, known: dict[str, Path]) -> str | None:
    """Return the module that a dotted name leads to: itself, or what it is an attribute of."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, directly or through others."""
    reach = {name: _reachable(name, graph) for name in graph}
    groups: list[set[str]] = []
    for name in graph:
        group = {other for other in reach[name] if name in reach.get(other, ())}
        if group and group not in groups:
            groups.append(group)
    return groups


def _reachable(name: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [*graph[name]]
    while waiting:
        other = waiting.pop()
        if other not in reached:
            reached.add(other)
            waiting += graph.get(other, ())
    return reached

"""Keys and values: YAML, overrides, one tree over another, and what pydantic refuses said in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from gag.errors import ConfigError


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the leaves of `above` over it."""
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out


def without(tree: Mapping[str, Any], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` without the leaves that the other tree has, and without sections that nothing is left of."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        theirs = leaves.get(key)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            if rest := without(value, theirs):
                out[key] = rest
        elif key not in leaves:
            out[key] = value
    return out


def read_yaml(path: Path, hint: str = "Make a workspace with: gag init FOLDER") -> dict[str, Any]:
    """The keys and values of a YAML file; raises ConfigError, with `hint` where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{path} does not exist.", hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}.", "Check the file.") from None
    return parse_yaml(text, str(path))


class _Twice(yaml.MarkedYAMLError):
    """A key that is written twice, whose first value would silently be lost."""


def _loaded(text: str) -> Any:
    """YAML text without a key that is there twice; raises YAMLError, _Twice among them, and ValueError."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_doubles(loader, node, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_doubles(loader: yaml.SafeLoader, node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:  # named by several aliases, or within itself
        return
    seen.add(id(node))
    keys = set()
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        key, *below = part if isinstance(part, tuple) else (None, part)
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            name = loader.construct_object(key)
            if name in keys:
                raise _Twice(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            keys.add(name)
        for value in below:
            _refuse_doubles(loader, value, seen)


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """YAML text as keys and values; raises ConfigError that names `origin` and the line."""
    try:
        tree = _loaded(text)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply.", "Mend it.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that cannot be
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        if isinstance(error, _Twice):
            raise ConfigError(f"{origin}{where}: {problem}.", "Put what both say into one of them.") from None
        raise ConfigError(f"{origin}{where}: not YAML ({problem}).", "Mend it.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{origin}: a {type(tree).__name__}, not keys and values.", "Write `key: value` lines.")
    return tree


def override_tree(override: str) -> dict[str, Any]:
    """`a.b=value` of --set as a tree; the value is YAML. Raises ConfigError."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r} is not key=value.", "For instance: --set readout.slots=4")
    try:
        leaf: Any = _loaded(value)
    except _Twice as error:
        raise ConfigError(f"--set {override!r}: {error.problem}.", "Put what both say into one of them.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {override!r}: the value is not YAML.", "Quote it, or mend it.") from None
    for part in reversed(key.strip().split(".")):
        leaf = {part: leaf}
    tree: dict[str, Any] = leaf
    return tree


def overridden(overrides: Iterable[str], section: str) -> dict[str, Any]:
    """What the texts of --set say of one section, by key; empty where they say nothing of it. Raises ConfigError."""
    tree: dict[str, Any] = {}
    for override in overrides:
        tree = merged(tree, override_tree(override))
    said = tree.get(section)
    return dict(said) if isinstance(said, Mapping) else {}


def explained(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Every problem of `error` in words, unknown keys of the section `root` with the nearest known one."""
    return [_explain(dict(problem), root) for problem in error.errors()]


def _explain(error: dict[str, Any], root: type[BaseModel]) -> str:
    location = [str(part) for part in error["loc"]]
    dotted = ".".join(location) or "the whole"
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {str(error['msg']).removeprefix('Value error, ')}"
    near = difflib.get_close_matches(location[-1], _known_keys(location[:-1], root), n=1, cutoff=0.4)
    guess = f" (did you mean {'.'.join([*location[:-1], near[0]])}?)" if near else ""
    return f"unknown key {dotted}{guess}"


def _known_keys(parents: list[str], root: type[BaseModel]) -> list[str]:
    """The keys that a section has, followed from `root`; sections by name (`domains.NAME`) take any name."""
    section, names = root, list(parents)
    while names:
        field = section.model_fields.get(names.pop(0))
        if field is None:
            return []
        annotation: Any = field.annotation
        if get_origin(annotation) is dict:
            if not names:
                return []
            del names[0]
            annotation = get_args(annotation)[1]
        found = next((part for part in (annotation, *get_args(annotation)) if _is_section(part)), None)
        if found is None:
            return []
        section = found
    return list(section.model_fields)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)

"""The configuration as text for people: the commented `gag.yaml` of `gag init`, and docs/configuration.md.

Both are made from the fields of `gag.config`, so neither can go out of date: `python -m gag.workspace_file FILE`
writes the reference page, and a test compares it.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gag.config import Config, DomainConfig, preset_names

WIDTH = 118
_TYPES: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}
_HEADER = """\
GAG workspace. Every choice is written out with its value; a line removed takes the preset's value, or the default.
Paths are relative to this file. Any key can be set for one command: --set readout.slots=4
"""
_DOMAINS_EXAMPLE = """\
For instance, in place of the {} above:
  adjuvant:
    field: vaccine adjuvants
    style: Answer in one precise sentence.
    qa: data/adjuvant/train.jsonl
Every key of a domain:
"""
_PAGE = """\
# Configuration

The workspace file `gag.yaml`, key by key. `gag init` writes it with every choice spelled out; a key left out takes the
preset's value, or the default below. An unknown key is refused. Any key can be set for one command with
`--set key=value`, where the value is YAML: `--set readout.layers=[-4,-1]`. Paths are relative to the file that names
them.

This page is generated from `src/gag/config/` by `make docs`.

## Presets

`preset: NAME` in the file, or `--preset NAME`, puts a shipped set of choices under the file's own.

"""


def commented_yaml(config: Config) -> str:
    """`config` as YAML with every key spelled out and its description as a comment above; parses back to an equal one.

    Without domains, an example of one and every key that it can have follow as comments.
    """
    lines = [*_comment(_HEADER, ""), ""]
    for name, field in type(config).model_fields.items():
        if name == "domains" and not config.domains:
            lines += [*_comment(_about(field), ""), "domains: {}", *_comment(_DOMAINS_EXAMPLE, "", fill=False)]
            for key, said in DomainConfig.model_fields.items():
                told = textwrap.wrap(f"{key}: {_about(said)}", WIDTH - 4, subsequent_indent="  ")
                lines += _comment("\n".join(f"  {line}" for line in told), "", fill=False)
        else:
            lines += _key(name, field, getattr(config, name), "")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def configuration_markdown() -> str:
    """The reference page: the presets, then a table a section with every key's type, default and meaning."""
    presets = "\n".join(f"- `{name}`: {_first_comment(name)}" for name in preset_names())
    tables = [_table("The file itself", Config(), prefix="")]
    tables += [
        _table(f"`{path}`", section, prefix=f"{path}.")
        for path, section in _sections(Config(), "")
        if type(section) is not Config
    ]
    tables.append(_table("`domains.NAME`", DomainConfig(), prefix="domains.NAME."))
    return _PAGE + presets + "\n\n" + "\n\n".join(tables) + "\n"


def _key(name: str, field: FieldInfo, value: Any, indent: str) -> list[str]:
    lines = _comment(_about(field), indent)
    if isinstance(value, BaseModel):
        return [*lines, f"{indent}{name}:", *_body(value, indent + "  ")]
    if isinstance(value, dict) and value and all(isinstance(entry, BaseModel) for entry in value.values()):
        lines.append(f"{indent}{name}:")
        for key, entry in value.items():
            lines += [f"{indent}  {_plain_yaml(key)}:", *_body(entry, indent + "    ")]
        return lines
    return [*lines, f"{indent}{name}: {_plain_yaml(value)}"]


def _body(section: BaseModel, indent: str) -> list[str]:
    return [
        line
        for name, field in type(section).model_fields.items()
        for line in _key(name, field, getattr(section, name), indent)
    ]


def _comment(text: str, indent: str, *, fill: bool = True) -> list[str]:
    room = WIDTH - len(indent) - 2
    lines = [piece for line in text.splitlines() for piece in (textwrap.wrap(line, room) if fill else [line])]
    return [f"{indent}# {line}" for line in lines]


def _about(field: FieldInfo) -> str:
    """The description, and for a closed choice what can be chosen, on a line of its own."""
    choices = [
        str(value) for part in _parts(field.annotation) if get_origin(part) is Literal for value in get_args(part)
    ]
    return f"{field.description}\n[{' | '.join(choices)}]" if choices else str(field.description)


def _plain_yaml(value: Any) -> str:
    """`value` on one line."""
    if isinstance(value, tuple):
        value = list(value)
    quoted = '"' if isinstance(value, str) and ("\n" in value or "{" in value) else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=quoted, allow_unicode=True, width=float("inf"))
    return str(text).removesuffix("\n").removesuffix("\n...")


def _sections(section: BaseModel, path: str) -> Iterator[tuple[str, BaseModel]]:
    """Every section with leaves of its own and its dotted path, in the file's order."""
    values = {name: getattr(section, name) for name in type(section).model_fields}
    if any(not isinstance(value, BaseModel) for value in values.values()):
        yield path, section
    for name, value in values.items():
        if isinstance(value, BaseModel):
            yield from _sections(value, f"{path}.{name}" if path else name)


def _table(title: str, section: BaseModel, *, prefix: str) -> str:
    about = "" if isinstance(section, Config) else f"{(type(section).__doc__ or '').splitlines()[0]}\n\n"
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not isinstance(value, BaseModel):
            default = _plain_yaml(value)
            rows.append(
                f"| `{prefix}{name}` | {_cell(_kind(field))} | `{_cell(default)}` | {_cell(field.description)} |"
            )
    return f"## {title}\n\n{about}" + "\n".join(rows)


def _cell(text: str | None) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _kind(field: FieldInfo) -> str:
    """The type in words, with its limits."""
    kind = " or ".join(_type_in_words(part) for part in _parts(field.annotation))
    limits = [limit for limit in map(_limit, field.metadata) if limit]
    return f"{kind}, {', '.join(limits)}" if limits else kind


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _type_in_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_type_in_words(get_args(annotation)[0])}s"
    if get_origin(annotation) is dict:
        return "sections by name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    return _TYPES[annotation]


def _limit(metadata: Any) -> str:
    match metadata:
        case annotated_types.Ge(ge=bound):
            return f"at least {bound}"
        case annotated_types.Gt(gt=bound):
            return f"above {bound}"
        case annotated_types.Le(le=bound):
            return f"at most {bound}"
        case annotated_types.Lt(lt=bound):
            return f"below {bound}"
        case annotated_types.MinLen(min_length=bound):
            return f"at least {bound} of them"
        case _:
            return ""


def _first_comment(preset: str) -> str:
    """A preset's first line, which says what it is."""
    text = (resources.files("gag") / "presets" / f"{preset}.yaml").read_text("utf-8")
    return text.splitlines()[0].removeprefix("#").strip()


def main(arguments: list[str]) -> None:
    """Write the reference page to the file that `arguments` names."""
    path = Path(arguments[0])
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(configuration_markdown(), encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])

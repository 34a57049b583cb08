"""labctl.yml as text: where each key stands, and what is wrong with it, in a person's words."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from labctl.errors import UsageError

Place = tuple[str | int, ...]
Lines = dict[Place, int]

_WANTED = {
    "name": 'wants a letter, then letters, digits or "-", all lower-case, at most 30',
    "kubernetes": 'wants a whole version in quotes or with two dots, such as "1.37.2"',
    "hello_world.image": "wants the name of an image, such as registry.example/hello:1",
    "node.memory": "wants a size such as 2Gi or 1500Mi",
}
"""Better words than a regular expression's."""


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """The keys and values of `path`, and the line of each key. Raises `UsageError`."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines = dict(_lines(node, (), path)) if node else {}
        data = loader.construct_document(node) if node else {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsageError(f"{path} is no YAML: {where}{error.problem}") from error
    except RecursionError as error:
        raise UsageError(f"{path} refers to itself without end") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    if data is None:
        return {}, lines
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold keys and values, not a {type(data).__name__}")
    return data, lines


def sentence(problem: Mapping[str, Any], model: type[BaseModel], lines: Lines, options: Collection[str]) -> str:
    """What is wrong with one key, as pydantic found it: its line or option, the key, what it wants."""
    place: Place = tuple(problem["loc"])
    said: str = problem["msg"].removeprefix("Value error, ")
    if not place:
        # A rule over several keys; it begins with the one to change.
        return _where(tuple(said.partition(":")[0].split(".")), lines) + said
    is_option = place[0] in options
    key = _option(str(place[0])) if is_option else ".".join(str(part) for part in place)
    prefix = "" if is_option else _where(place, lines)
    if problem["type"] == "extra_forbidden":
        return f"{prefix}{key}: no such key{_nearest(place, model)}"
    if problem["type"] == "string_type" and not isinstance(problem["input"], (dict, list)) and key not in _WANTED:
        said = "wants text: put it in quotes"
    if place[0] == "proxy" or "redfish" in place:  # it may hold a password
        return f"{prefix}{key}: {said}"
    return f"{prefix}{key}: {_WANTED.get('.'.join(str(part) for part in place), said)} (given: {problem['input']!r})"


def _lines(node: yaml.Node, place: Place, path: Path) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise UsageError(
                    f"{path}: {key.value} stands twice, in line {seen[key.value]} and in line {line}", "keep one"
                )
            seen[key.value] = line
            yield (*place, key.value), line
            yield from _lines(value, (*place, key.value), path)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*place, number), item.start_mark.line + 1
            yield from _lines(item, (*place, number), path)


def _option(key: str) -> str:
    return "--lab" if key == "name" else "--" + key.replace("_", "-")


def _where(place: Place, lines: Lines) -> str:
    while place and place not in lines:
        place = place[:-1]
    return f"line {lines[place]}: " if place else ""


def _nearest(place: Place, model: type[BaseModel]) -> str:
    """The right key that was probably meant: one of the same level that looks alike, or this one of another level."""
    known = list(_keys(model, ""))
    level = "".join(f"{part}." for part in place[:-1] if isinstance(part, str))
    beside = [key for key in known if key.startswith(level) and "." not in key.removeprefix(level)]
    wrong = str(place[-1]).lower().replace("-", "_")
    alike = [level + name for name in difflib.get_close_matches(wrong, [key.rpartition(".")[2] for key in beside], n=1)]
    alike += [key for key in known if key.rpartition(".")[2] == wrong]
    return f"; did you mean {alike[0]}?" if alike else f"; known here: {', '.join(beside)}"


def _keys(model: type[BaseModel], level: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield level + name
        for part in _models(field.annotation):
            yield from _keys(part, f"{level}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 (whatever stands in an annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)

"""YAML files: read as data, and checked, with errors that name the line, what stands there and what may."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from sentidistill.errors import SentiDistillError

MOST = 50  # faults that are told of one file


def shown(value: Any) -> str:
    """`value` for an error: shortened; only the kind of a list or mapping, as it may hold a secret."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    kinds: dict[type, str] = {list: "a list", dict: "a mapping"}
    return kinds.get(type(value), f"a {type(value).__name__}")


class _Loader(yaml.SafeLoader):
    """YAML in which every value is written once, at a moderate depth."""

    LEVELS = 50
    _level = _anchored = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        event = self.peek_event()
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and self._anchored:  # such values grow without bounds
            raise yaml.composer.ComposerError(None, None, "an alias within what has an anchor", event.start_mark)
        if self._level > self.LEVELS:
            raise yaml.composer.ComposerError(None, None, f"more than {self.LEVELS} levels", event.start_mark)
        before = self._level, self._anchored
        self._level, self._anchored = self._level + 1, self._anchored + bool(event.anchor and not is_alias)
        node = super().compose_node(parent, index)
        self._level, self._anchored = before
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if found := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", node.value):
            problem = f"a control character or half of a surrogate pair, U+{ord(found[0]):04X}"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int):
                str(value)  # Python writes no integer of more than 4,300 digits
            return value
        except yaml.YAMLError:
            raise
        except Exception as error:  # of a scalar that is not what its form or tag says: half a dozen classes
            problem = f"{shown(node.value)} is no {node.tag.rpartition(':')[2]}; put it into quotes if it is a text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        lines: dict[str, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:null":
                problem = "a key that is no text; write a name before the colon"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if key.value in lines:
                problem = f"{shown(key.value)} is given twice, first in line {lines[key.value]}; delete one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def read_text(path: str | Path) -> str:
    """The text of `path`. Raises `SentiDistillError` where it is not there or not in UTF-8."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8")
    except OSError as error:
        raise SentiDistillError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SentiDistillError(f"{path}, line {line}: not UTF-8; save the file in UTF-8") from error


def read_yaml(path: str | Path) -> Any:
    """The content of the YAML file `path`. Raises `SentiDistillError` with the line of a fault."""
    text = read_text(path)
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SentiDistillError(f"{path}, line {line}: a control character, U+{error.character:04X}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise SentiDistillError(f"{path}, line {mark.line + 1}: {problem}") from error


def read(path: str | Path, schema: Any) -> Any:
    """The YAML file `path` as `schema`, a type of pydantic. Raises `SentiDistillError` with the lines of all faults."""
    values = read_yaml(path)
    try:
        return TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        raise SentiDistillError("\n".join(explain(error, values, schema, path, path))) from error


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that `annotation` is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _names(schema: Any, place: list[str | int]) -> list[str]:
    """The keys that are allowed at `place`."""
    models = _models(schema)
    for part in place:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model in _models(field.annotation)]
    return [name for model in models for name in model.model_fields]


def _place(problem: Mapping[str, Any], values: Any) -> list[str | int]:
    """The keys and numbers that lead to a fault in `values`; pydantic names the kinds of unions between them, too."""
    found = []
    for part in problem["loc"]:
        try:
            values = values[part]
        except (LookupError, TypeError):
            continue
        found.append(part)
    return [*found, problem["loc"][-1]] if problem["type"] == "missing" else found


def _line(node: yaml.Node | None, place: list[str | int]) -> int:
    """The line below `node` where the value at `place` is given, or what it would be part of; 0 where that is all."""
    line = 0
    for part in place:
        if isinstance(node, yaml.MappingNode):
            inside = [(key.start_mark, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inside = [(value.start_mark, value) for value in node.value[part : part + 1]]
        else:
            inside = []
        if not inside:
            break
        mark, node = inside[0]
        line = mark.line + 1
    return line


def explain(
    error: ValidationError, values: Any, schema: Any, where: str | Path, path: str | Path | None = None
) -> list[str]:
    """The faults of `values` of the form `schema`, one by one, each with what would be right.

    Faults are said to be in `where`, with their lines where that is the file `path`.
    """
    problems = error.errors()
    node = yaml.compose(read_text(path), _Loader) if path else None
    lines = []
    for problem in problems[:MOST]:
        place = _place(problem, values)
        line = _line(node, place)
        start = f"{where}, line {line}" if line else str(where)
        lines += [f"{start}: {fault}" for fault in _fault(problem, place, schema).splitlines()]
    return lines + [f"{where}: {len(problems) - MOST} more faults"] * (len(problems) > MOST)


def _fault(problem: Mapping[str, Any], place: list[str | int], schema: Any) -> str:
    """One fault a line, each with the key."""
    key = ".".join(str(part) if len(str(part)) <= 60 and str(part).isprintable() else shown(part) for part in place)
    kind, found, context = problem["type"], shown(problem["input"]), problem.get("ctx", {})
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1])[:60], _names(schema, place[:-1]), n=1, cutoff=0.0)
        return f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return f"{key} is missing"
    is_number = isinstance(problem["input"], int | float)
    a_mapping, a_list = (f"expected {form}, found {found}" for form in ("a mapping of keys to values", "a list"))
    text = {
        "value_error": str(context.get("error", "")),
        "literal_error": f"expected {context.get('expected')}, found {found}",
        "union_tag_invalid": f"expected as source {context.get('expected_tags')}, found {shown(context.get('tag'))}",
        "union_tag_not_found": "source is missing",
        "bool_parsing": f"expected true or false, found {found}",
        "bool_type": f"expected true or false, found {found}",
        "string_type": f"expected a text, found {found}{'; put it into quotes' if is_number else ''}",
        "too_short": f"expected at least {context.get('min_length')}, found {context.get('actual_length')}",
        "too_long": f"expected at most {context.get('max_length')}, found {context.get('actual_length')}",
        "list_type": a_list,
        "tuple_type": a_list,
        "dict_type": a_mapping,
        "model_type": a_mapping,
        "model_attributes_type": a_mapping,
    }.get(kind, f"{problem['msg']}, found {found}")
    return "\n".join(f"{key}: {line}" if key else line for line in text.splitlines())

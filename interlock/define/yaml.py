"""YAML as values that remember their lines.

Stricter than YAML on purpose: a key may stand once, `yes` is a word, a date stays text
until a definition asks for a date, and there are no aliases to expand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from interlock.errors import Problem

Path = tuple[str | int, ...]
DEEPEST = 100  # levels of nesting; every one takes its share of Python's own stack
# Where the two readers disagree: `?` in braces, a comment straight behind `|` or `>`, tabs,
# line ends of other worlds, byte order marks, directives, anchors, tags.
_SEEN_OTHERWISE = re.compile(
    "[?%&!]|[|>][-+0-9]*#|[^\n -~\u00a0-\ufefe]|[\u2028\u2029\ud800-\udfff]"
)


@dataclass(frozen=True)
class Document:
    """A parsed file. `lines` has the line of every key and list item."""

    file: str
    value: dict[str, Any]
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str, file: str, above: int = 0) -> tuple[Document | None, list[Problem]]:
    """The mapping in `text`, or what is wrong with it; `above` lines stand before it in `file`."""
    quick = _quick(text, file, above)
    if quick is not None:
        return quick, []
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, [Problem(file, above + 1, "nothing is declared here", "write a mapping")]
        reader = _Reader(loader, file, above)
        value = reader.value(root, ())
    except yaml.YAMLError as error:
        return None, [_unreadable(error, file, above)]
    if not isinstance(value, dict):
        found = type(value).__name__
        problem = Problem(
            file, above + 1, f"expected a mapping, found a {found}", "write key: value"
        )
        return None, [*reader.problems, problem]
    return Document(file, value, reader.lines), reader.problems


def _quick(text: str, file: str, above: int) -> Document | None:
    """What libyaml reads; None for all that it may see otherwise, and for whatever is wrong.

    The slower reader decides then, so that a mistake is told in the same words everywhere.
    """
    if not yaml.__with_libyaml__ or _SEEN_OTHERWISE.search(text) or _deep(text):
        return None
    try:
        loader = _Quick(text)
        root = loader.get_single_node()
        reader = _Reader(loader, file, above)
        value = reader.value(root, ()) if root is not None else None
    except (yaml.YAMLError, UnicodeError):
        return None
    if reader.problems or not isinstance(value, dict):
        return None
    return Document(file, value, reader.lines)


def _deep(text: str) -> bool:
    """Nested so deep that code in C may run out of stack."""
    return text.count("[") + text.count("{") + text.count("- -") > 500


_TOO_DEEP = f"nested more than {DEEPEST} levels deep"


class _Loader(yaml.SafeLoader):
    """Only true and false are booleans, dates stay text, and a thing is written where it stands."""

    yaml_implicit_resolvers = {  # noqa: RUF012 # PyYAML's own protocol
        first: [pair for pair in pairs if pair[0].rsplit(":", 1)[1] not in ("timestamp", "bool")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            # An alias can hold itself, or grow without bound; definitions need neither.
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias (*name) is not read here", mark)
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, _TOO_DEEP, mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF")
)

if yaml.__with_libyaml__:

    class _Quick(yaml.CSafeLoader):
        """The same rules over libyaml's parser, which is many times faster."""

        yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


@dataclass
class _Reader:
    """Walks the node tree once; collects lines and problems on the way."""

    loader: yaml.SafeLoader | yaml.CSafeLoader
    file: str
    above: int
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, self._line(node))
        if len(path) >= DEEPEST:
            self._say(self._line(node), _TOO_DEEP, _FLATTER)
            return None
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(held, (*path, key)) for key, held in self._pairs(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # there is no fourth kind
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        plain = not node.style
        meant = self.loader.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
        if node.tag != meant:
            self._say(self._line(node), f"a tag ({node.tag}) is not read here", "write the value")
            return node.value
        try:
            return self.loader.construct_object(node)
        except ValueError:
            return node.value  # 0x_ looks like a number to YAML and is none

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for named, held in node.value:
            line = self._line(named)
            if not isinstance(named, yaml.ScalarNode):
                self._say(line, "a key must be a word", "write key: value")
                continue
            key = str(named.value)
            if key in seen:
                self._say(line, f"`{key}` is already on line {seen[key]}", "keep one of the two")
                continue
            seen[key] = self.lines[(*path, key)] = line
            yield key, held

    def _line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + 1 + self.above

    def _say(self, line: int, message: str, fix: str) -> None:
        self.problems.append(Problem(self.file, line, message, fix))


def _unreadable(error: yaml.YAMLError, file: str, above: int) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        line = above + (mark.line + 1 if mark else 1)
        fix = _HELP.get(error.problem or "", "mend the YAML here or just above")
        return Problem(file, line, f"not YAML: {said}", fix)
    said = str(error).splitlines()[0]
    return Problem(file, above + 1, f"not YAML: {said}", "remove the unreadable characters")


_FLATTER = "no definition needs as many levels: look for a bracket that is never closed"
_HELP = {
    _TOO_DEEP: _FLATTER,
    "an alias (*name) is not read here": "write the value out",
    "mapping values are not allowed here": "quote the text if it holds a colon, or mend the indent",
    "found character '\\t' that cannot start any token": "indent with spaces, not tabs",
}

"""A strict reading of HTML: every tag closed, ids unique, and what a screen reader needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


@dataclass
class Tag:
    name: str
    attributes: dict[str, str | None]
    text: str = ""
    inside: list[Tag] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects all tags, and every way in which they are not well formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[Tag] = []
        self.tags: list[Tag] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Tag(tag, dict(attrs))
        if len(made.attributes) != len(attrs):
            self.wrong.append(f"an attribute twice on {tag}")
        self.tags.append(made)
        for outer in self.open:
            outer.inside.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1].name != tag:
            self.wrong.append(f"</{tag}> closes {[t.name for t in self.open[-2:]]}")
        if self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for outer in self.open:
            outer.text += data

    def all(self, *names: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name in names]


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    reader.wrong += [f"<{tag.name}> stays open" for tag in reader.open]
    return reader


def complaints(html: str) -> list[str]:
    """Everything that is not valid or not accessible on a whole page."""
    page = read(html)
    said = list(page.wrong)
    ids = [str(t.attributes["id"]) for t in page.tags if "id" in t.attributes]
    said += [f"id {one} twice" for one in sorted(set(ids)) if ids.count(one) > 1]
    said += _landmarks(page) + _headings(page) + _labels(page, set(ids))
    said += [f"<th> without scope: {t.text}" for t in page.all("th") if "scope" not in t.attributes]
    said += [f"inline style on {t.name}" for t in page.tags if "style" in t.attributes]
    said += [f"<svg> {t.attributes} says nothing" for t in page.all("svg") if not _speaks(t)]
    return said


def _landmarks(page: Reader) -> list[str]:
    return [f"not one <{n}>" for n in ("main", "header", "h1", "title") if not _one(page, n)]


def _one(page: Reader, name: str) -> bool:
    found = page.all(name)
    if name == "title":  # drawings have titles too
        found = [tag for tag in found if "id" not in tag.attributes and "Interlock" in tag.text]
    return len(found) == 1


def _headings(page: Reader) -> list[str]:
    levels = [int(tag.name[1]) for tag in page.all("h1", "h2", "h3", "h4")]
    return [
        f"h{b} after h{a}" for a, b in zip([0, *levels], levels, strict=False) if b > a + 1
    ]  # fmt: skip


def _labels(page: Reader, ids: set[str]) -> list[str]:
    named = {tag.attributes.get("for") for tag in page.all("label")}
    said = [
        f"{tag.name} without label"
        for tag in page.all("input", "textarea")
        if tag.attributes.get("type") != "hidden" and tag.attributes.get("id") not in named
    ]
    pointed = [str(t.attributes.get("aria-labelledby", "")).split() for t in page.tags]
    return said + [f"nothing has id {one}" for many in pointed for one in many if one not in ids]


def _speaks(svg: Tag) -> bool:
    return [tag.name for tag in svg.inside[:2]] == ["title", "desc"]

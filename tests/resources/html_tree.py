"""HTML as a tree, by the standard library's parser, which is strict about what must be closed."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_VOID = frozenset({"meta", "img", "input", "br", "hr", "link"})


class Node:
    """An element."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node | str] = []

    def walk(self) -> Iterator[Node]:
        """Itself and all below, in the order of the file."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str, css: str = "") -> list[Node]:
        """Elements of this name below it that have the class, if one is given."""
        return [n for n in self.walk() if n.tag == tag and (not css or css in n.classes)]

    def one(self, tag: str, **attributes: str) -> Node:
        """The only element of this name with these attributes."""
        wanted = attributes.items()
        (found,) = [n for n in self.walk() if n.tag == tag and wanted <= n.attributes.items()]
        return found

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        """All text below, white space as one space."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        """All text below, as it stands."""
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    def table(self) -> list[list[str]]:
        """The texts of the cells of its body, row by row."""
        (body,) = self.all("tbody")
        return [[c.text for c in r.walk() if c.tag in ("td", "th")] for r in body.all("tr")]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(path: Path) -> Node:
    """The tree of a file. AssertionError where an element is closed that is not open."""
    builder = _Builder()
    builder.feed(path.read_text(encoding="utf-8"))
    builder.close()
    assert builder.open == [builder.root], f"never closed: <{builder.open[-1].tag}>"
    return builder.root

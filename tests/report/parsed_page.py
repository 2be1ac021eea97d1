"""A finished page, taken apart with the parser of the standard library."""

import json
from html.parser import HTMLParser

_INLINE = ("a", "cite", "em", "sub", "wbr")


def plain(text):
    """Return a text whose spaces may all be broken."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


class ParsedPage(HTMLParser):
    """The elements, the visible text and the figures of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = []
        self.figures = {}
        self._open = []
        self.feed(page)
        self.close()

    @property
    def text(self):
        return " ".join(plain("".join(self.texts)).split())

    @property
    def links(self):
        """Addresses outside the page that it links to."""
        return [attributes["href"] for attributes in self.of("a") if not attributes["href"].startswith("#")]

    @property
    def loaded(self):
        """Elements that load something which the page does not hold."""
        places = ("src", "href", "data", "srcset")
        return [
            (tag, attributes[place])
            for tag, attributes in self.elements
            for place in places
            if tag != "a" and not attributes.get(place, "data:").startswith(("data:", "#"))
        ]

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _INLINE:
            self.texts.append(" ")
        if tag in ("script", "style"):
            self._open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in _INLINE:
            self.texts.append(" ")
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self.texts.append(data)
        elif "data-figure" in self._open[-1][1]:
            self.figures[self._open[-1][1]["data-figure"]] = json.loads(data)

"""What a browser makes of a page: its elements, and the texts of its tables."""

import html.parser


class Page(html.parser.HTMLParser):
    """A page that was read.

    Attributes:
      elements: every start of an element: tag and attributes, in order.
      tables: by id, the texts of all cells, line by line, with the heading.
    """

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._lines: list[list[str]] = []
        self._in_cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self._lines = self.tables[dict(attributes)["id"]] = []
        elif tag == "tr":
            self._lines.append([])
        elif tag in ("th", "td"):
            self._lines[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell &= tag not in ("th", "td")

    def handle_data(self, data):
        if self._in_cell:
            self._lines[-1][-1] += data

"""A page taken apart."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page is made of; fails on tags that don't close."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words, self.rows = [], [], [], []
        self.feed(html)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if self.open and {"th", "td"} & set(self.open):
            self.rows[-1][-1] += re.sub(r"\s+", " ", data.strip()) + " "

    def row(self, first):
        """The first row of a table that begins with this."""
        return next([cell.strip() for cell in row[1:]] for row in self.rows if f"{row[0]} ".startswith(f"{first} "))


def assert_in_order(text, *facts):
    """Facts (names, numbers, verdicts) stand in a text, each after the one before, whatever words are between."""
    place = 0
    for fact in facts:
        place = text.find(fact, place)
        assert place >= 0, f"{fact!r} isn't there, or not in its place: {text}"
        place += len(fact)

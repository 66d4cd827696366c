"""Follows the links of the book that mdbook built: each leads to a file, and to a part that is there. Argument: the book's folder."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Page(HTMLParser):
    """Links and ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value and tag != "link":
                self.links.append(unquote(value))


def main():
    book = Path(sys.argv[1]).resolve()
    whole = {"print.html", "toc.html", "404.html"}  # pages that repeat others, below another path
    pages = {path: Page(path) for path in book.rglob("*.html") if path.name not in whole}
    count, broken = 0, []
    for path, page in pages.items():
        for link in page.links:
            if "://" in link or link.startswith(("mailto:", "javascript:")):
                continue
            count += 1
            file, _, part = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (part and target in pages and part not in pages[target].ids):
                broken.append(f"{path.relative_to(book)}: {link}")
    if broken or count < 500:
        sys.exit("\n".join([f"{count} links in {len(pages)} pages", *sorted(set(broken))]))
    print(f"{len(pages)} pages, {count} links, each leads somewhere")


main()

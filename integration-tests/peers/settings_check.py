"""Compares the tables of a page on migration with the settings of a library for Java, which a program printed: a line for each,
name, tabulator, default. Each setting must have a row, each row a setting, and the row the default.

Arguments: the page, the file of the settings. A table has the settings of the class that its heading names; a daemon's have no class.
"""

import re
import sys

# Defaults that the page has in words, in place of the stand-ins of the program that printed the settings.
WORDS = {
    "the application": "the application's name",
    "the application-CoordinatorState": "the application's name with `-CoordinatorState`",
    "the application-WorkerMetricStats": "the application's name with `-WorkerMetricStats`",
    "the worker": "given",
    "the stream": "given",
}
PLAIN = {"none", "no limit", "given", "a function", "a thread pool"}
ROW = re.compile(r"\| `([^`]+)` \| (.*?) \| .* \|$")


def expected(default):
    """The cell that a page has for a default."""
    if default in WORDS:
        return WORDS[default]
    return default if default in PLAIN else f"`{default}`"


def rows(page):
    """Cells of defaults by the names of settings, with their class."""
    found, settings = {}, None
    for line in page:
        heading = re.match(r"### `(\w+)`$", line)
        if line.startswith("#"):
            settings = heading and heading.group(1)
        row = settings and ROW.match(line.rstrip())
        if row:
            name = f"{settings}.{row.group(1)}"
            if name in found:
                sys.exit(f"two rows of {name}")
            found[name] = row.group(2)
    return found


def main():
    page, dump = sys.argv[1:]
    with open(page, encoding="utf-8") as file:
        found = rows(file)
    with open(dump, encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file if "\t" in line]
    settings = {name: expected(default) for name, default in lines}
    faults = [f"no row of {name}" for name in settings.keys() - found.keys()]
    faults += [f"no setting of this name: {name}" for name in found.keys() - settings.keys()]
    faults += [
        f"{name} has the default {settings[name]} in Java, {found[name]} on the page"
        for name in settings.keys() & found.keys()
        if settings[name] != found[name]
    ]
    if faults or len(settings) < 40:
        sys.exit("\n".join([f"{page}: {len(settings)} settings of Java", *sorted(faults)]))
    print(f"{page}: {len(settings)} settings, with their defaults as in Java")


main()

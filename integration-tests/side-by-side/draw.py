"""Draws a dashboard of `deploy/` from its definition and the data of a run.

    draw.py grafana DASHBOARD PICTURE PROMETHEUS BEGIN END    queries are answered by a Prometheus
    draw.py cloudwatch DASHBOARD PICTURE DATA                 DATA: a line of JSON for each datum that CloudWatch was put

Each panel has the place, title, unit and legend of the definition. Metrics of the services themselves have no data in such a
run, and are left out.
"""

import io
import json
import re
import sys
import urllib.parse
import urllib.request
from collections import defaultdict

import matplotlib
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

PERIOD = 60
SCRAPE = 5
STEP = 5
ROW_INCHES = {"grafana": 0.3, "cloudwatch": 0.34}


def grafana(path, prometheus, begin, end):
    """Panels of the definition, with the series that Prometheus answers."""
    with open(path) as file:
        dashboard = json.load(file)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        place = (place["x"], place["y"], place["w"], place["h"])
        if panel["type"] == "row":
            yield place, panel["title"], None, "", {}
            continue
        defaults = panel["fieldConfig"]["defaults"]
        series = {}
        for target in panel["targets"]:
            for labels, points in ask(prometheus, target["expr"], int(begin), int(end)):
                legend = re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target["legendFormat"])
                series[legend] = [(at - int(begin), value) for at, value in points]
        yield place, panel["title"], series, defaults["unit"], {"min": defaults.get("min"), "max": defaults.get("max")}


def ask(prometheus, expression, begin, end):
    for name, value in [("$__rate_interval", f"{4 * SCRAPE}s"), ("$stream", ".*"), ("$application", ".*")]:
        expression = expression.replace(name, value)
    query = urllib.parse.urlencode({"query": expression, "start": begin, "end": end, "step": STEP})
    with urllib.request.urlopen(f"http://{prometheus}/api/v1/query_range?{query}", timeout=30) as answer:
        for series in json.load(answer)["data"]["result"]:
            points = [(float(at), float(value)) for at, value in series["values"]]
            yield series["metric"], [(at, value) for at, value in points if value == value]


class Data:
    """What CloudWatch was put, in periods of a minute."""

    def __init__(self, path):
        self.series = defaultdict(lambda: defaultdict(list))
        with open(path) as file:
            for line in file:
                datum = json.loads(line)
                key = (datum["namespace"], datum["name"], tuple(sorted(datum["dimensions"].items())))
                self.series[key][int(datum["at"] // PERIOD)].append(datum)
        self.begin = min(min(periods) for periods in self.series.values())

    def of(self, keys, statistic):
        """Points of the statistic over these series together."""
        merged = defaultdict(list)
        for key in keys:
            for period, data in self.series[key].items():
                merged[period] += data
        return [((period - self.begin) * PERIOD, value(data, statistic)) for period, data in sorted(merged.items())]

    def find(self, namespace, name, **dimensions):
        """Series that have these dimensions, and perhaps others."""
        wanted = set(dimensions.items())
        return [key for key in self.series if key[:2] == (namespace, name) and wanted <= set(key[2])]


def value(data, statistic):
    total = lambda field: sum(datum[field] for datum in data)  # noqa: E731
    return {
        "Sum": lambda: total("sum"),
        "Average": lambda: total("sum") / total("count"),
        "Maximum": lambda: max(datum["max"] for datum in data),
        "Minimum": lambda: min(datum["min"] for datum in data),
        "SampleCount": lambda: total("count"),
    }[statistic]()


def cloudwatch(path, data):
    """Widgets of the definition, with the series of the data."""
    data = Data(data)
    application = next(name for name, _, _ in data.series if name != "KinesisProducerLibrary")
    with open(path) as file:
        text = file.read().replace("${stream}", "StockTradeStream").replace("${application}", application)
    for widget in json.loads(text)["widgets"]:
        place = (widget["x"], widget["y"], widget["width"], widget["height"])
        properties = widget["properties"]
        if widget["type"] == "text":
            yield place, properties["markdown"].lstrip("# "), None, "", {}
            continue
        series = {}
        for entry in properties["metrics"]:
            if not str(entry[0]).startswith("AWS/"):
                series.update(of_entry(entry, properties["stat"], data))
        bounds = properties.get("yAxis", {}).get("left", {"min": 0})
        of_service = all(str(entry[0]).startswith("AWS/") for entry in properties["metrics"])
        yield place, properties["title"], series, "of the service" if of_service else "", bounds


def of_entry(entry, statistic, data):
    """Series of an entry of a widget's metrics, by their labels."""
    if isinstance(entry[0], dict):
        return of_expression(entry[0], data)
    options = entry[-1] if isinstance(entry[-1], dict) else {}
    namespace, name, *pairs = [part for part in entry if isinstance(part, str)]
    key = (namespace, name, tuple(sorted(zip(pairs[::2], pairs[1::2]))))
    keys = [key] if key in data.series else []
    return {options.get("label", name): data.of(keys, options.get("stat", statistic))} if keys else {}


def of_expression(entry, data):
    expression = entry["expression"]
    if search := re.match(r"SEARCH\('\{(.*?)\} (.*)', '(\w+)', \d+\)", expression):
        schema, terms, statistic = search.groups()
        namespace, *names = [part.strip('"') for part in schema.split(",")]
        terms = dict(re.findall(r'(\w+)="([^"]*)"', terms))
        keys = data.find(namespace, terms.pop("MetricName"), **terms)
        keys = [key for key in keys if {name for name, _ in key[2]} == set(names)]
        own = lambda key: " ".join(value for name, value in key[2] if name not in terms)  # noqa: E731
        return {own(key): data.of([key], statistic) for key in keys}
    select = re.match(r"SELECT (\w+)\(\"?([^\")]+)\"?\) FROM \"(.*?)\" WHERE Operation = '(.*?)'", expression)
    statistic, name, namespace, operation = select.groups()
    statistic = {"SUM": "Sum", "AVG": "Average", "MAX": "Maximum", "MIN": "Minimum"}[statistic]
    keys = data.find(namespace, name, Operation=operation)
    return {entry["label"]: data.of(keys, statistic)} if keys else {}


def draw(kind, panels, picture):
    panels = list(panels)
    height = max(y + h for (_, y, _, h), *_ in panels)
    plt.rcParams.update({"font.size": 6, "axes.titlesize": 7, "axes.titlelocation": "left", "axes.linewidth": 0.5})
    figure = plt.figure(figsize=(12, height * ROW_INCHES[kind]))
    empty = []
    for (x, y, w, h), title, series, unit, bounds in panels:
        if series is None:
            figure.text((x + 0.2) / 24, 1 - (y + 0.7) / height, title, fontsize=10, weight="bold")
            continue
        axes = figure.add_axes(((x + 1.3) / 24, 1 - (y + h - 1.1) / height, (w - 1.6) / 24, (h - 2.0) / height))
        axes.set_title(f"{title} [{unit}]" if unit not in ("", "short", "of the service") else title)
        axes.grid(linewidth=0.3)
        axes.xaxis.set_major_formatter("{x:g} min")
        axes.spines[["top", "right"]].set_visible(False)
        plot(axes, kind, series, bounds)
        if not any(series.values()):
            of_service = unit == "of the service"
            axes.text(0.5, 0.5, "metrics of the service itself: not in this run" if of_service else "no data", ha="center", transform=axes.transAxes)
            if not of_service:
                empty.append(title)
    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=100)
    Image.open(pixels).convert("RGB").quantize(64).save(picture, optimize=True)
    print(f"{picture}: {len(panels)} panels, no data for {empty or 'none'}")


def plot(axes, kind, series, bounds):
    for number, (label, points) in enumerate(sorted(series.items())):
        marker = "o" if kind == "cloudwatch" else None
        style = ["-", "--", ":", "-."][number // 10 % 4]
        axes.plot([at / 60 for at, _ in points], [value for _, value in points], style, marker=marker, markersize=2,
                  linewidth=1, label=label)
    if series:
        axes.legend(loc="upper left", frameon=False, fontsize=5, ncols=1 + len(series) // 6)
    low, high = axes.get_ylim()
    bottom = bounds.get("min") if bounds.get("min") is not None else low
    axes.set_ylim(bottom, bounds.get("max") or max(high, bottom) * 1.25 or 1)
    if bounds.get("max"):
        axes.set_ylim(bottom, bounds["max"] * 1.1)


def main():
    kind, definition, picture, *source = sys.argv[1:]
    panels = {"grafana": grafana, "cloudwatch": cloudwatch}[kind](definition, *source)
    draw(kind, panels, picture)


main()

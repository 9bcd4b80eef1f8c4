"""What a fleet costs, as Markdown: a line for each size, and what one workspace more adds to it."""

from statistics import linear_regression, median

MB, MIB = 1_000_000, 1 << 20
ARCHITECTURES = 2
# Workspaces have not all the same number of layers, and an empty machine asks for each.
SLACK = 1.05
COLUMNS = {
    "wall, s": ("{:.2f}", lambda run: run["wall"]),
    "CPU, s": ("{:.2f}", lambda run: run["cpu"]),
    "requests: host 1": ("{:.0f}", lambda run: run["requests"][0]),
    "requests: host 2": ("{:.0f}", lambda run: run["requests"][1]),
    "an image": ("{:.1f}", lambda run: run["all"] / run["size"] / ARCHITECTURES),
    "sent, MB: host 1": ("{:.2f}", lambda run: run["up"][0] / MB),
    "sent, MB: host 2": ("{:.2f}", lambda run: run["up"][1] / MB),
    "answers, MB": ("{:.2f}", lambda run: run["received"] / MB),
    "packages, MB": ("{:.2f}", lambda run: run["down"] / MB),
}
OF = {
    "published": {"layers made": ("{:.0f}", lambda run: run["made"]), "blobs sent": ("{:.0f}", lambda run: run["sent"]),
                  "linked": ("{:.0f}", lambda run: run["linked"])},
    "planned": {"jobs": ("{:.0f}", lambda run: run["listed"])},
}
MEMORY = {"memory, MiB": ("{:.0f}", lambda run: run["anonymous"] / MIB)}


def show(results: list, cases: dict, what: str):
    columns = {**COLUMNS, **OF[what], **MEMORY}
    for case, title in cases.items():
        sizes = sorted({run["size"] for run in results if (run["what"], run["case"]) == (what, case)})
        middle = lambda size, value: median(value(run) for run in results if (run["what"], run["case"], run["size"]) == (what, case, size))
        print(f"### {what}: {title}\n\n| workspaces | {' | '.join(columns)} |\n|---:|{'---:|' * len(columns)}")
        for size in sizes:
            print(f"| {size} | {' | '.join(form.format(middle(size, value)) for form, value in columns.values())} |")
        if len(sizes) > 1:
            slope = lambda value: linear_regression(sizes, [middle(size, value) for size in sizes]).slope
            more = ["" if name == "an image" else f"{slope(value):.2f}" for name, (form, value) in columns.items()]
            print(f"| one more | {' | '.join(more)} |")
        print()


def goals(results: list) -> bool:
    """Prints what became of them; whether all are met."""
    published, planned = ([run for run in results if run["what"] == what] for what in ("published", "planned"))
    nothing = [run for run in published if run["case"] == "nothing"]
    image = COLUMNS["an image"][1]
    smallest = median(image(run) for run in nothing if run["size"] == min(one["size"] for one in nothing))
    rows = [
        ("layers made more than once, or though they were there, worst run", max(run["made"] - run["new"] for run in published), "= 0", 0),
        ("new layers that were not made, worst run", max(run["new"] - run["made"] for run in published), "= 0", 0),
        ("blobs sent to a host more than once, worst run", max(run["more"] for run in published), "= 0", 0),
        ("jobs listed though nothing changed, or not listed, worst run", max(run["wrong"] for run in planned), "= 0", 0),
        ("nothing changed: blobs sent, worst run", max(run["sent"] for run in nothing), "= 0", 0),
        ("nothing changed: bytes of packages downloaded, worst run", max(run["down"] for run in nothing), "= 0", 0),
        ("nothing changed: requests an image, worst run", max(map(image, nothing)), f"≤ {SLACK} × {smallest:.1f}, the smallest fleet's", SLACK * smallest),
    ]
    print("| goal | measured | wanted | |\n|---|---:|---:|---|")
    for name, value, wanted, limit in rows:
        print(f"| {name} | {value:g} | {wanted} | {'met' if value <= limit else 'MISSED'} |")
    return all(value <= limit for _, value, _, limit in rows)

"""The figures as Markdown."""

from .cases import CASES
from .goals import MIB, Figures, goals

MB = 1_000_000
WHO = {"ours": "pixi-oci", "recipe": "recipe: rattler install, `buildah copy`, commit", "umoci": "rattler install, `umoci insert`",
       "floor": "floor: zstd, openssl, libdeflate-gzip, openssl"}
SENT = {"recipe": ", push", "umoci": ", `skopeo copy`"}
WHERE = {"layout": "OCI layout", "registry": "docker-registry on loopback"}


def table(figures: Figures, destination: str) -> list:
    """One line for each case and each way."""
    lines = ["| case | with | wall, s | fastest to slowest | rounds | CPU, s | peak anonymous memory, MiB | written, MB | downloaded, MB "
             f"| {'new in the registry' if destination == 'registry' else 'new in the layout'}, MB |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for case, title in CASES.items():
        for who, name in WHO.items():
            runs = figures.of(who, case)
            if not runs:
                continue
            m = lambda key: figures.middle(who, case, key)
            times = sorted(run["wall"] for run in runs)
            memory = max(run["anonymous"] for run in runs) / MIB
            if who == "recipe" and case == "nothing":
                title = "anything changed"
            sent = SENT.get(who, "") if destination == "registry" else ""
            lines.append(f"| {title} | {name}{sent} | {m('wall'):.2f} | {times[0]:.2f}–{times[-1]:.2f} | {len(runs)} | {m('cpu'):.2f} | "
                         f"{memory:.0f} | {m('written') / MB:.1f} | {m('downloaded') / MB:.2f} | {m('new') / MB:.2f} |")
    return lines


def section(title: str, destination: str, results: list, archives: dict) -> tuple:
    """The lines about one workspace and one destination, and whether all goals are met."""
    figures = Figures(results)
    lines = [f"### {title}: {WHERE[destination]}", "", *table(figures, destination), "", "| goal | measured | wanted | |",
             "|---|---:|---:|---|"]
    reached = goals(figures, archives)
    lines += [f"| {name} | {value} | {wanted} | {'met' if met else 'MISSED'} |" for name, value, wanted, met in reached]
    return [*lines, ""], all(met for *_, met in reached)

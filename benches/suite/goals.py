"""The goals of the project, and whether the figures of a run meet them."""

from statistics import median

MIB = 1 << 20
# Documents, small records and the last block of each file are written on top of what is counted.
SLACK = 1.1


class Figures:
    """What was measured of one workspace and one destination."""

    def __init__(self, results: list):
        self.results = results

    def of(self, who: str, case: str) -> list:
        return [run for run in self.results if (run["who"], run["case"]) == (who, case)]

    def middle(self, who: str, case: str, key: str = "wall"):
        """The median; `None` for what was not measured."""
        runs = self.of(who, case)
        return median(run[key] for run in runs) if runs else None


def goals(figures: Figures, archives: dict) -> list:
    """(goal, measured, wanted, whether it is met). `archives` are the lengths of the packages' archives by name."""
    ours = lambda case, key="wall": figures.middle("ours", case, key)
    found = []

    def at_least(name, value, limit):
        found.append((name, f"{value:.2f}", f"≥ {limit}", value >= limit))

    def at_most(name, value, limit):
        found.append((name, f"{value:.2f}", f"≤ {limit}", value <= limit))

    def equal(name, value, expected):
        found.append((name, str(value), f"= {expected}", value == expected))

    if figures.of("recipe", "cold"):
        at_least("cold: times faster than the recipe", figures.middle("recipe", "cold") / ours("cold"), 4)
    if figures.of("floor", "cold"):
        at_most("cold: time / the floor's", ours("cold") / figures.middle("floor", "cold"), 1.0)
    if figures.of("recipe", "nothing"):
        again = figures.middle("recipe", "nothing")
        at_least("nothing changed: times faster than the recipe", again / ours("nothing"), 100)
        at_least("one small package changed: times faster than the recipe", again / ours("package"), 50)
    at_most("nothing changed: CPU, s", ours("nothing", "cpu"), 1)
    equal("nothing changed: bytes of packages downloaded", int(ours("nothing", "downloaded")), 0)
    if figures.of("ours", "empty"):
        at_most("empty machine, one package changed: time / the warm machine's", ours("empty") / ours("package"), 2)
        run = figures.of("ours", "empty")[-1]
        equal("empty machine, one package changed: bytes of packages downloaded", run["downloaded"],
              sum(archives[name] for name in run["made_of"]))
    equal("application file changed: bytes of packages downloaded", int(ours("file", "downloaded")), 0)
    if all("layers_pushed" in run for run in figures.of("ours", "file")):
        equal("application file changed: layers pushed", int(ours("file", "layers_pushed")), 1)
    mine = [run for run in figures.results if run["who"] == "ours"]
    at_most("peak anonymous memory of any run, MiB", max(run["anonymous"] for run in mine) / MIB, 300)
    at_most("bytes written / (image + archives downloaded), worst run",
            max(run["written"] / (run["image"] + run["downloaded"]) for run in mine), SLACK)
    return found

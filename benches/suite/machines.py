"""Several machines make the layers of a fleet, each its share, and one more publishes the images.

The machines work one after another, so that each has both CPUs, and each has a home and a cache of its own; the registry is all
that they share.
"""

import json
import shutil

from .fleet import Fleet
from .publisher import Publisher

MB = 1_000_000
ALL = ["--workspace-glob", "services/*"]
BALANCE = 1.10


def compare(fleet: Fleet, publisher: Publisher, counts: list, size: int) -> bool:
    """Prints a line for each number of machines; whether all goals are met."""
    print(f"### machines: the layers of {size} workspaces\n\n| machines | layers | largest share / mean | plan, s | longest share, s | CPU of all, s "
          "| packages, MB | parts of packages, MB | sent, MB | images, s | CPU, s | packages, MB | made | |\n|---:|" + "---:|" * 12 + "---|")
    rows = [_with(fleet, publisher, count, size) for count in counts]
    met = True
    for row in rows:
        # One machine alone makes the least that there is to make.
        same = row["archives"] == rows[0]["archives"] and row["keys"] == rows[0]["keys"]
        good = same and row["once"] and row["balance"] <= BALANCE and row["of_images"] == row["made"] == row["of_plan"] == 0
        met &= good
        print(f"| {row['count']} | {len(row['keys'])} | {row['balance']:.3f} | {row['plan']:.2f} | {row['longest']:.2f} | {row['cpu']:.2f} "
              f"| {row['archives'] / MB:.2f} | {row['parts'] / MB:.2f} | {row['sent'] / MB:.2f} | {row['images']['wall']:.2f} "
              f"| {row['images']['cpu']:.2f} | {row['of_images'] / MB:.2f} | {row['made']} | {'met' if good else 'MISSED'} |")
    print(f"\nGoals: no layer is made or sent twice; all shares together make the layers and download the packages that one machine does; the largest "
          f"share has at most {BALANCE} times the mean; neither the plan nor the images download a package or make a layer.\n")
    return met


def _with(fleet: Fleet, publisher: Publisher, count: int, size: int) -> dict:
    [host] = publisher.hosts
    host.restart()
    publisher.forget()
    fleet.settle(size, publisher.channel.url, [f"{host.address}/app"])

    def machine(case: str, command: list) -> tuple:
        """What an empty machine printed, and what it cost."""
        cache = publisher.work / "machine"
        shown = json.loads(publisher.run("machines", case, count, [*command, *ALL], cache))
        shutil.rmtree(cache)
        return shown, publisher.results[-1]

    jobs, plan = machine("plan", ["plan", "--matrix", "layers", "--shards", count])
    shares = [machine("share", ["layers", "--publish", "--json", "--shard", job["shard"], "--to", f"docker://{host.address}/layers"])
              for job in jobs["include"]]
    keys = [layer["key"] for report, _ in shares for layer in report["layers"]]
    sent = [digest for _, figures in shares for blobs in figures["blobs"] for digest, times in blobs.items() for _ in range(times)]
    weights = [job["bytes"] for job in jobs["include"]]
    publisher.publish("images", count, [*ALL, "--cache-from", f"docker://{host.address}/layers"], empty=True)
    images, archives = publisher.results[-1], lambda figures: figures["down"] - figures["parts"]
    own = {layer["digest"] for report, _ in shares for layer in report["layers"]}
    total = lambda value: sum(value(figures) for _, figures in shares)
    return {
        "count": count, "keys": set(keys), "once": len(keys) == len(set(keys)) and all(sent.count(digest) == 1 for digest in own),
        "balance": max(weights) * count / sum(weights), "plan": plan["wall"], "of_plan": archives(plan),
        "longest": max(figures["wall"] for _, figures in shares), "cpu": total(lambda figures: figures["cpu"]),
        "archives": total(archives), "parts": total(lambda figures: figures["parts"]), "sent": total(lambda figures: figures["up"][0]),
        "images": images, "of_images": archives(images), "made": images["made"]}

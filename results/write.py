"""Writes what results/ shows of published runs: results/README.md, the README's table, the experiments' second lines.

    mien report cnn1 --to results/cnn1      publishes a run
    make results                            runs this

Every number comes from the published `metrics.json`, `history.csv` and `environment.json`; none is typed by hand.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by `make results` -->", "<!-- /results -->"


def main() -> None:
    """Write all three."""
    (ROOT / "results" / "README.md").write_text(page(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), "results/"), encoding="utf-8")
    for folder in published():
        file = ROOT / "experiments" / "paper-2021" / f"{folder.name}.yaml"
        if file.exists():
            file.write_text(with_header(file.read_text(encoding="utf-8"), folder), encoding="utf-8")


def published() -> list[Path]:
    """The folders of published runs, by name."""
    return sorted(path.parent for path in (ROOT / "results").glob("*/metrics.json"))


def table(prefix: str) -> str:
    """One line a run: scores with their 95 % intervals, split and n; links begin with `prefix`."""
    head = "| run | protocol | measured on | accuracy | balanced accuracy | macro F1 | seeds | trained |\n"
    return head + "| --- | --- | --- | --- | --- | --- | --- | --- |\n" + "".join(map(row(prefix), published()))


def row(prefix: str) -> Any:
    """The table's line of one folder."""

    def write(folder: Path) -> str:
        metrics, made = read(folder, "metrics.json"), read(folder, "environment.json")
        epochs = (folder / "history.csv").read_text(encoding="utf-8").count("\n") - 1
        mark = f", **contaminated** ({metrics['contaminated']:.1%})" if metrics["contaminated"] else ""
        cells = [
            f"[{folder.name}]({prefix}{folder.name}/report.html)",
            metrics["protocol"] + mark,
            f"{metrics['dataset']}, {metrics['split']}, n = {metrics['n']:,}",
            *(score(metrics, key) for key in ("accuracy", "balanced_accuracy", "macro_f1")),
            ", ".join(map(str, metrics["seeds"])),
            f"{epochs} epochs, {made['duration_s'] / 60:.0f} min, {made['precision']} on {processor(made)}",
        ]
        return f"| {' | '.join(cells)} |\n"

    return write


def score(metrics: dict[str, Any], key: str) -> str:
    """A value with its 95 % interval."""
    low, high = metrics["interval"][key]
    return f"{metrics[key]:.3f} [{low:.3f}, {high:.3f}]"


def processor(made: dict[str, Any]) -> str:
    """What the run was trained on."""
    return ", ".join(made["gpus"]) if made["device"] == "cuda" else f"{made['cores']} cores ({made['cpu']})"


def page() -> str:
    """results/README.md."""
    curves = "\n".join(
        f"## {folder.name}\n\n"
        f"[Report]({folder.name}/report.html), [metrics]({folder.name}/metrics.json), "
        f"[environment]({folder.name}/environment.json), [experiment]({folder.name}/experiment.yaml).\n\n"
        f"![Curves of {folder.name}]({folder.name}/figures/curves.png)\n\n"
        f"![Confusion matrix of {folder.name}]({folder.name}/figures/confusion-report.png)\n"
        for folder in published()
    )
    return (
        "# Results\n\nWritten by `make results` from published runs; brackets are 95 % intervals over the choice of "
        "rows (they don't tell how far another seed would move a number). "
        "Speed is in [speed.md](speed.md) and [importing.md](importing.md).\n\n" + table("") + "\n" + curves
    )


def with_table(text: str, prefix: str) -> str:
    """A text with the table between its marks."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table(prefix)}{END}{after}"


def with_header(text: str, folder: Path) -> str:
    """An experiment file whose line with the command also tells minutes and score."""
    metrics, made = read(folder, "metrics.json"), read(folder, "environment.json")
    told = (
        f"{processor(made).partition(' (')[0]}: {made['duration_s'] / 60:.0f} min    "
        f"{metrics['split']} {score(metrics, 'accuracy')}, n = {metrics['n']:,}, seeds: {len(metrics['seeds'])}"
    )
    return re.sub(r"^(# mien train \S+).*$", lambda found: f"{found[1]}    {told}", text, count=1, flags=re.M)


def read(folder: Path, name: str) -> Any:
    """A published JSON file."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

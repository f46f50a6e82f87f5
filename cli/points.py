"""What `lef fuse` found, for each size of train, and the tables that show it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cli.output import bar, percent, print_table
from cli.tables import on_test

if TYPE_CHECKING:
    from lefcache.study import Baseline, Fused


@dataclass(frozen=True)
class Point:
    """One size of train: what was chosen, all that was tried, and what it has to beat."""

    best: "Fused"
    tried: "list[Fused]"
    baselines: "list[Baseline]"

    def to_json(self) -> dict[str, Any]:
        """The chosen fusion, with the operators that were tried and the baselines beside."""
        tried = [
            {
                "op": each.op,
                "id": each.id,
                "val_accuracy": asdict(each.val_accuracy),
                "test_accuracy": each.test_accuracy and asdict(each.test_accuracy),
            }
            for each in self.tried
        ]
        baselines = [each.to_json() for each in self.baselines]
        return self.best.to_json() | {"ops": tried, "baselines": baselines}


def report_ops(point: Point) -> None:
    """The operators that were tried, and which was chosen."""
    rows = [
        [
            each.op,
            percent(each.val_accuracy.mean),
            percent(each.val_accuracy.std) if each.seeds > 1 else "",
            "chosen" if each.op == point.best.op else "",
            _tested(each),
        ]
        for each in point.tried
    ]
    best = point.best
    title = f"{best.corpus}: accuracy {best.chosen} (n = {best.n_val:,})"
    print_table(title, ["operator", ">%", ">± seeds", "", f"test % (n = {best.n_test:,})"], rows)


def report_curve(points: Sequence[Point]) -> None:
    """A line for each size of train."""
    rows = []
    for point in points:
        best = point.best
        words = next((each for each in point.baselines if each.name.startswith("tf-idf")), None)
        known = words.test_accuracy if words else None
        figures = [best.val_accuracy, best.test_accuracy, best.test_macro_f1]
        rows.append(
            [
                f"{best.n_train:,}",
                best.op,
                *("" if each is None else percent(each.mean) for each in figures[:1]),
                _tested(best),
                *("" if each is None else percent(each.mean) for each in figures[2:]),
                "" if known is None else percent(known),
            ]
        )
    columns = [">n train", "operator", ">validation %", "test %", ">macro F1 %", ">tf-idf, test %"]
    print_table("learning curve", columns, rows)


def _tested(found: "Fused") -> str:
    figure = found.test_accuracy
    return "" if figure is None else on_test(figure.mean, figure.ci95, 0)


def report_layers(weights: Mapping[str, Mapping[str, float]], seeds: int) -> None:
    """What each layer of a mix counts for; all together, 100 %."""
    largest = max(share["mean"] for share in weights.values())
    rows = [
        [
            feature,
            percent(share["mean"]),
            percent(share["std"]) if seeds > 1 else "",
            bar(share["mean"] / largest),
        ]
        for feature, share in weights.items()
    ]
    print_table("What each layer counts for", ["layer", ">%", ">± seeds", ""], rows)

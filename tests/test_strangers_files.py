"""Files of strangers: hostile names, cards that lie, lists with a broken part, and what mien prints of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY, write_tiny
from verbs import call

from mien.data.dataset import Dataset, list_datasets, open_dataset, write_dataset
from mien.data.importers import import_dataset
from mien.data.labels import LabelScheme
from mien.errors import FailedError, MienError, shown
from mien.experiment.schema import load_experiment
from mien.files import cell_value, csv_text
from mien.images import encode_png
from mien.runs.ledger import entries, record
from mien.runs.run import Run, find_run, find_runs, list_runs, new_run, overview
from mien.workflow import measure, new_runs, train_to_end
from mien.workspace import Workspace

PNG = encode_png(np.zeros((8, 8, 1), np.uint8))


def change(dataset: Dataset, edit: Any) -> Path:
    """The data set's card, edited."""
    card = dataset.folder / "card.json"
    content = json.loads(card.read_text())
    edit(content)
    card.write_text(json.dumps(content))
    return card


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: card.update(name="x/../../../PWN"), "name: the card can't be read (string should match"),
        (lambda card: card.update(fingerprint=card["fingerprint"][:16] + "/.."), "fingerprint: the card can't be read"),
        (lambda card: card.update(fingerprint="0" * 64), "the card can't be read (the fingerprint isn't that"),
        (lambda card: card["splits"].update({"../x": [0] * 7}), "splits.../x.[key]: the card can't be read"),
        (lambda card: card["shards"][0].update(file="../PWN.parquet"), "shards.0.file: the card can't be read"),
        (lambda card: card["shards"][0].update(sha256="../PWN"), "shards.0.sha256: the card can't be read"),
        (lambda card: card["parent"].update(name="../x"), "parent.name: the card can't be read"),
        (
            lambda card: card["splits"].update(test=[10**9] * 7),
            "the card can't be read (split 'test' has 7,000,000,000 rows",
        ),
        (
            lambda card: card["splits"].update(test=[1]),
            "the card can't be read (split 'test' has 1 counts for 7 classes)",
        ),
        (lambda card: card.update(classes=["a"] * 7), "two classes are called 'a'"),
        (lambda card: card.update(details={"landmarks": []}), "details: the card can't be read ('landmarks' of"),
    ],
)
def test_a_card_is_believed_as_far_as_it_goes(tiny: Dataset, workspace: Workspace, edit: Any, message: str) -> None:
    change(tiny, lambda card: card.update(parent={"name": "old", "fingerprint": "0" * 64}))
    card = change(tiny, edit)
    with pytest.raises(MienError) as error:
        open_dataset(workspace, "tiny")
    assert str(error.value).startswith(f"{card}: {message}")


def test_counts_are_those_of_the_shards(tiny: Dataset, workspace: Workspace) -> None:
    def more(card: Any) -> None:
        card["splits"]["test"][0] += 7_000_000_000
        next(shard for shard in card["shards"] if shard["split"] == "test")["rows"] += 7_000_000_000

    change(tiny, more)
    with pytest.raises(FailedError, match="this shard isn't the one that the card describes"):
        open_dataset(workspace, "tiny").ids("test")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", [0, 7], "a row has a label of 0 to 7; expected 0 to 6"),
        ("label", [0, -1], "a row has a label of -1 to 6; expected 0 to 6"),
        ("label", [0, None], "a row has no label"),
        ("id", ["a", None], "a row has no id"),
    ],
)
def test_values_of_a_shard_are_checked(workspace: Workspace, column: str, values: list[Any], message: str) -> None:
    dataset = write_tiny(workspace, n=98)
    shard = next(shard for shard in dataset.card.shards if shard.split == "test")
    table = pq.read_table(dataset.folder / shard.file)
    kind = table.schema.field(column).type
    new = pa.array([*values, *table[column].to_pylist()[2:]], kind)
    table = table.set_column(table.column_names.index(column), table.schema.field(column), new)
    pq.write_table(table, dataset.folder / shard.file)
    size = (dataset.folder / shard.file).stat().st_size
    change(dataset, lambda card: next(one for one in card["shards"] if one["split"] == "test").update(bytes=size))
    with pytest.raises(FailedError) as error:
        open_dataset(workspace, "tiny").table("test", [column])
    assert str(error.value) == f"{dataset.folder / shard.file}: {message}"


def test_a_broken_data_set_is_one_line_of_the_list(tiny: Dataset, workspace: Workspace) -> None:
    write_tiny(workspace, "whole")
    change(tiny, lambda card: card.pop("classes"))
    listed = call("data", "list", "--workspace", workspace.root)
    assert listed.code == 0
    assert "whole" in listed.out
    assert "can't be read:" in listed.out
    found = call("data", "list", "--json", "--workspace", workspace.root).json["datasets"]
    assert [(one["name"], one.get("error", {}).get("key")) for one in found] == [("tiny", "classes"), ("whole", None)]
    shutil.copytree(tiny.folder, workspace.datasets / "a b\n")
    assert list_datasets(workspace) == ["tiny", "whole"]


@pytest.mark.parametrize("file", ["experiment.yaml", "metrics.json", "metrics-choose.json", "history.csv"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 200_000, b"{}", b"a: {b: 1}"])
def test_a_broken_run_is_one_line_of_the_list(workspace: Workspace, tiny_file: Path, file: str, data: bytes) -> None:
    for _ in range(2):
        new_run(workspace, load_experiment(tiny_file))
    (workspace.runs / "tiny" / "1" / file).write_bytes(data)
    first, second = (overview(run) for run in list_runs(workspace))
    if not (file == "history.csv" and data != b"\xff\xfe"):
        assert first["error"]["file"] == str(workspace.runs / "tiny" / "1" / file)
    assert second["epochs"] == 3
    listed = call("runs", "--workspace", workspace.root)
    assert (listed.code, listed.err) == (0, "")
    assert "tiny/2" in listed.out


def test_a_reference_names_at_most_so_many_runs(workspace: Workspace, tiny_file: Path) -> None:
    new_run(workspace, load_experiment(tiny_file))
    with pytest.raises(MienError, match="'tiny/1-999999999' names too many runs; expected at most 1,000"):
        find_runs(workspace, "tiny/1-999999999")
    with pytest.raises(MienError, match="there is no run 'tiny/1-999999999999'"):
        find_runs(workspace, "tiny/1-999999999999")


def test_a_path_to_a_run_is_used_in_the_workspace_that_the_user_named(
    workspace: Workspace, tiny_file: Path, tmp_path: Path
) -> None:
    run = new_run(Workspace(tmp_path / "theirs"), load_experiment(tiny_file))
    assert find_run(workspace, str(run.folder)).workspace == workspace
    assert find_run(Workspace(Path(), named=False), str(run.folder)).workspace == Workspace(tmp_path / "theirs")


def test_a_ledger_holds_paths_of_all_kinds(workspace: Workspace, tiny_file: Path) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    asked = {"protocol": "official", "dataset": "a\u2028b\u0085c\x0bd", "command": ["\u2029"]}
    record(workspace, run, asked)
    assert [line["dataset"] for line in entries(run.folder)] == [asked["dataset"]]
    with (run.folder / "evaluations.jsonl").open("a") as file:
        file.write('{"when": 3}\n')
    with pytest.raises(FailedError) as error:
        entries(run.folder)
    assert str(error.value).startswith(f"{run.folder / 'evaluations.jsonl'}: when: the ledger can't be read (")


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "a\u2028b", "\u202egnirts", "x" * 101, "\x9b31m"])
def test_names_of_classes_can_be_shown(name: str) -> None:
    with pytest.raises(MienError) as error:
        LabelScheme("mine", ("happy", name))
    assert shown(str(error.value)) == str(error.value)
    assert "can't be the name of a class" in str(error.value)


def test_more_classes_than_a_matrix_can_hold_are_refused() -> None:
    assert len(LabelScheme("mine", tuple(map(str, range(1000))))) == 1000
    with pytest.raises(MienError, match="there are 1,001 classes; expected at most 1,000"):
        LabelScheme("mine", tuple(map(str, range(1001))))


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (["a" * 2000, "b"], ["x", "y"], "row 0 has a text of 2,000 bytes; expected at most 1,000"),
        (["a", "b"], ["x", "y" * 10_000_000], "row 1 has a text of 10,000,000 bytes; expected at most 1,000"),
        (["a", "b"], ["x", "\x1b[2J"], "'\\x1b[2J' can't be the name of a class"),
    ],
)
def test_long_and_hostile_texts_are_refused_early(
    workspace: Workspace, tmp_path: Path, ids: list[str], labels: list[str], message: str
) -> None:
    images = pa.array([PNG] * 2, pa.binary())
    pq.write_table(pa.table({"id": ids, "image": images, "label": labels}), tmp_path / "train.parquet")
    with pytest.raises(MienError) as error:
        import_dataset(workspace, tmp_path / "train.parquet", "mine")
    assert message in str(error.value)


def test_metadata_nested_without_end_is_as_none(workspace: Workspace, tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([PNG] * 12, pa.binary()), "label": ["x", "y"] * 6})
    table = table.replace_schema_metadata({"huggingface": "[" * 200_000})
    pq.write_table(table, tmp_path / "train.parquet")
    assert import_dataset(workspace, tmp_path / "train.parquet", "mine").card.classes == ("x", "y")


def test_a_readme_shows_names_as_they_are(workspace: Workspace) -> None:
    scheme = LabelScheme("mine", ("<script>alert(1)</script>", "[a](b)"))
    with write_dataset(workspace, "mine", scheme, source="test", format="test") as writer:
        writer.add("train", "0", PNG, 0, size=(8, 8))
    text = (workspace.datasets / "mine" / "README.md").read_text()
    assert r"(&lt;script&gt;alert(1)&lt;/script&gt;, \[a\](b))" in text


def test_cells_are_no_formulas_and_numbers_stay() -> None:
    cells = ["=1+1", "+1", "-0.5", "-1+2", "@a", "\tx", "a", 3, -1.5, None]
    assert csv_text([cells]) == "'=1+1,+1,-0.5,'-1+2,'@a,'\tx,a,3,-1.5,\n"
    assert [cell_value(text) for text in ("'=1+1", "'-1+2", "'tis", "=1")] == ["=1+1", "-1+2", "'tis", "=1"]


def test_a_sentence_stays_on_its_line_and_steers_no_terminal() -> None:
    assert shown("plain é – 95 %") == "plain é – 95 %"
    assert str(MienError("no", file="a\nb\x1b[31m\u2028")) == r"a\nb\x1b[31m\u2028: no"
    assert len(str(MienError("x" * 10**7))) == 4001


def test_rows_with_hostile_ids_are_told_in_one_line(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "images" / "happy"
    folder.mkdir(parents=True)
    (folder / "a\n\x1b[31m.png").write_bytes(b"no image")
    (folder / "b.png").write_bytes(PNG)
    done = call("data", "import", tmp_path / "images", "--as", "mine", "--workspace", workspace.root)
    assert done.code == 2
    assert r"happy/a\n\x1b[31m.png" in done.err
    assert "\x1b" not in done.err
    assert all(line.startswith("mien: ") for line in done.err.splitlines())


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1"])
def test_a_temperature_divides(tmp_path: Path, tiny_file: Path, value: Any) -> None:
    import torch

    from mien.data.labels import FER2013
    from mien.inference.weights import read_header, save_weights, store_temperature

    file = tmp_path / "w.safetensors"
    save_weights(file, {"a": torch.zeros(1)}, load_experiment(tiny_file), FER2013, "0" * 64)
    store_temperature(file, 1.5)
    assert read_header(file)["temperature"] == 1.5
    store_temperature(file, value)
    with pytest.raises(MienError, match=r"temperature|NaN|Infinity"):
        read_header(file)


def test_weights_of_another_size_are_refused_before_the_model_is_built(tmp_path: Path, tiny_file: Path) -> None:
    import torch

    from mien.data.labels import FER2013
    from mien.inference.network import load_network
    from mien.inference.weights import save_weights

    tiny_file.write_text(TINY.replace("fc: [16]", "fc: [2000000000]"))
    file = tmp_path / "w.safetensors"
    save_weights(file, {"a": torch.zeros(1)}, load_experiment(tiny_file), FER2013, "0" * 64)
    with pytest.raises(MienError, match="the weights don't fit the experiment's model"):
        load_network(file, "cpu")


def answers(run: Run, **columns: Any) -> pa.Table:
    """A table of someone else's predictions on a run's rows, with columns in place of its own."""
    rows = pq.read_table(run.predictions("report"))
    own = {"id": rows["id"].to_pylist(), "split": rows["split"].to_pylist()}
    own["prob"] = [[1 / 7] * 7] * len(rows)
    return pa.table({**own, **{name: value(len(rows)) for name, value in columns.items()}})


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    workspace = Workspace(tmp_path_factory.mktemp("home"))
    write_tiny(workspace)
    file = workspace.root / "tiny.yaml"
    file.write_text(TINY)
    (run,) = new_runs(workspace, file, ["train.epochs=1"])
    train_to_end(run, ["mien", "train"])
    measure(run, ["mien", "evaluate"])
    return run


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": lambda n: ["\x1b[2J" * 400] * n}, "has a text of 1,600 bytes; expected at most 1,000"),
        ({"id": lambda n: [None] * n}, ""),
        ({"id": lambda n: [0.5] * n}, ""),
        ({"id": lambda n: ["=cmd()"] * n}, ""),
        ({"prob": lambda n: [[float("nan")] * 7] * n}, ""),
        ({"prob": lambda n: [[float("inf")] * 7] * n}, ""),
        ({"prob": lambda n: [[0.5] * 3] * n}, ""),
        ({"prob": lambda n: [[]] * n}, ""),
        ({"prob": lambda n: ["1"] * n}, ""),
        ({"prob": lambda n: [{"angry": 1.0}] * n}, ""),
        ({"split": lambda n: [7] * n}, ""),
        ({"split": lambda n: ["../../x"] * n}, ""),
        ({"label": lambda n: [10**12] * n}, ""),
        ({"label": lambda n: ["\x1b[31mred\n"] * n}, ""),
        ({"\x1b[31mred": lambda n: [0.1] * n}, ""),
    ],
)
def test_predictions_of_strangers_are_checked(
    measured_run: Run, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    pq.write_table(answers(measured_run, **columns), tmp_path / "theirs.parquet")
    home = measured_run.workspace.root
    done = call("compare", measured_run.name, "--predictions", tmp_path / "theirs.parquet", "--workspace", home)
    assert done.code == 2
    (sentence,) = done.err.splitlines()
    assert "theirs.parquet" in sentence
    assert message in sentence
    assert len(sentence) < 1000
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("data", [b"", b"PAR1", b"\xff" * 100, b"PAR1" + b"\x00" * 1000 + b"PAR1", PNG])
def test_a_file_that_is_no_parquet_is_told(measured_run: Run, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "theirs.parquet").write_bytes(data)
    home = measured_run.workspace.root
    done = call("compare", measured_run.name, "--predictions", tmp_path / "theirs.parquet", "--workspace", home)
    assert (done.code, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "split,id,given,suggested\n",
        "split,id,given\ntrain,0,angry\n",
        "split,id,given,suggested\n../x,0,angry,happy\n",
        "split,id,given,suggested\ntrain,0,\x1b[31mred,happy\n",
        "split,id,given,suggested\ntrain," + "9" * 200_000 + ",angry,happy\n",
        "split,id,given,suggested\n" + "train,0,angry,happy,more\n" * 3,
        'split,id,given,suggested\ntrain,"0,angry,happy\n',
        "split,id,given,suggested\ntrain,0\x00,angry,happy\n",
    ],
)
def test_corrections_of_strangers_are_checked(tiny: Dataset, workspace: Workspace, tmp_path: Path, text: str) -> None:
    (tmp_path / "theirs.csv").write_text(text)
    words = ("data", "import", "tiny", "--as", "new", "--relabel", tmp_path / "theirs.csv")
    done = call(*words, "--workspace", workspace.root)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert len(done.err) < 2000
    assert "\x1b" not in done.err
    assert list_datasets(workspace) == ["tiny"]


def test_pages_show_hostile_names_as_text(workspace: Workspace) -> None:
    """A class's name with markup, in a run's page, its comparison as Markdown, and its LaTeX."""
    name = "<img src=x onerror=alert(1)> & 50 % _x_ | $y$"
    scheme = LabelScheme("hostile", (name, "plain"))
    with write_dataset(workspace, "hostile", scheme, source="", format="test") as writer:
        for index in range(60):
            split = ("train", "validation", "test")[index % 3]
            image = np.full((16, 16, 1), 40 + 150 * (index // 3 % 2) + index, np.uint8)
            writer.add(split, str(index), encode_png(image), index // 3 % 2, size=(16, 16))
    file = workspace.root / "hostile.yaml"
    file.write_text(
        "name: hostile\ndataset: {name: hostile, size: 16}\nprotocol: folder\n"
        "model: {name: cnn, channels: [4], kernel_size: 3, fc: [8]}\noptimizer: {name: sgd, lr: 0.05}\n"
        "preprocess: [{op: normalize}]\ntrain: {epochs: 1, precision: float32, device: cpu}\n"
    )
    runs = new_runs(workspace, file, seeds=2)
    for run in runs:
        train_to_end(run, ["mien", "train"])
        page = measure(run, ["mien", "evaluate"]).page.read_text()
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; 50 % _x_ | $y$" in page
    done = call("compare", "hostile/1", "hostile/2", "--to", workspace.root / "to", "--workspace", workspace.root)
    assert done.code == 0, done.err
    told = (workspace.root / "to" / "comparison.md").read_text()
    assert "<img" not in told
    assert "&lt;img src=x onerror=alert(1)> & 50 % _x_ / $y$" in told
    latex = (runs[0].folder / "classification_report.tex").read_text()
    assert r"\& 50 \% \_x\_" in latex
    assert r"\$y\$" in latex

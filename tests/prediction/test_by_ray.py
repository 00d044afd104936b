"""A list told by a cluster is the list told by one process: also when a machine dies, from Parquet, and in a store."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from installs import mien as installed_with
from PIL import Image
from pyarrow.fs import S3FileSystem
from skimage.data import astronaut
from verbs import call

from mien.prediction.bulk import MANIFEST

N, PARTS = 320, 20
EMPTY, BROKEN = "photos/012.png", "photos/deep/200.png"
ASKED = ("--detector", "cascade", "--model", "mien-s")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 small photos, most with a face, and what one process tells of them."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "photos/deep").mkdir(parents=True)
    face = Image.fromarray(astronaut()).crop((120, 0, 330, 210))
    for index in range(N):
        side = 100 + index % 37
        face.resize((side, side)).save(folder / ("photos" if index < 160 else "photos/deep") / f"{index:03}.png")
    Image.new("RGB", (60, 60), "gray").save(folder / EMPTY)
    (folder / BROKEN).write_text("no picture")
    done = predict(folder, "photos", "--out", "one.parquet", engine=())
    assert done.returncode == 1, done.stderr
    return folder


def command(*arguments: object, engine: tuple[str, ...] = ("--engine", "ray")) -> list[str]:
    return [sys.executable, "-m", "mien", "predict", *map(str, arguments), *ASKED, *engine]


def environment(address: str | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **ENVIRONMENT, **({"RAY_ADDRESS": address} if address else {})}


def predict(
    folder: Path, *arguments: object, address: str | None = None, engine: tuple[str, ...] = ("--engine", "ray")
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, engine=engine),
        cwd=folder,
        env=environment(address),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes, with a core each, on this machine."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        try:
            yield made
        finally:
            made.shutdown()


def whole(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "one.parquet").to_pylist()
    assert len({row["path"] for row in rows}) == N
    return rows


def workers(node: Any) -> list[int]:
    """The processes of a node that tell parts."""
    (raylet,) = node.all_processes["raylet"]
    children = psutil.Process(raylet.process.pid).children(recursive=True)
    return [
        one.pid for one in children if one.status() != "zombie" and any("MapWorker" in word for word in one.cmdline())
    ]


def wait_for_parts(process: "subprocess.Popen[str]", where: Path, count: int) -> int:
    """Wait until so many parts are there: how many there are."""
    while (there := len(list(where.glob("part-*.parquet")))) < count:
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(process.communicate()[1])
    return there


@pytest.mark.ray
def test_of_two_nodes_one_is_killed(folder: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1)
    process = subprocess.Popen(
        command("photos", "--out", "killed.parquet"),
        cwd=folder,
        env=environment(cluster.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_parts(process, folder / "killed.parquet.parts", 3)
    assert len(workers(node)) == 1
    cluster.remove_node(node, allow_graceful=False)
    there = wait_for_parts(process, folder / "killed.parquet.parts", 4)
    assert there < PARTS - 2
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert (folder / "killed.parquet").read_bytes() == (folder / "one.parquet").read_bytes()
    # Before it stands what Ray says of the node.
    assert err.splitlines()[-1] == "mien: 1 of 320 photos can't be read"
    rows = whole(folder)
    faces = sum(row["face"] is not None for row in rows)
    uncertain = sum(bool(row["uncertain"]) for row in rows)
    assert out.splitlines()[0].startswith(
        f"320 photos, {faces} faces ({uncertain} uncertain), 1 without a face, 1 can't be read (model mien-s "
    )
    assert not (folder / "killed.parquet.parts").exists()


@pytest.mark.ray
def test_a_folder_that_was_stopped_goes_on(folder: Path, cluster: Any) -> None:
    out = folder / "stopped"
    process = subprocess.Popen(
        command("photos", "--out", "stopped"),
        cwd=folder,
        env=environment(cluster.address),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_parts(process, out, 3)
    process.kill()
    process.communicate()
    assert not (out / MANIFEST).exists()
    first = next(iter(sorted(out.glob("part-*.parquet"))))
    before = first.stat().st_mtime_ns
    refused = predict(folder, "photos", "--out", "stopped", address=cluster.address)
    assert (refused.returncode, refused.stderr) == (
        2,
        f"mien: {out}: --out: some of the answers stand here already; expected another name, or --resume to go on with "
        "them\n",
    )
    other = predict(folder, "photos/deep", "--out", "stopped", "--resume", address=cluster.address)
    assert (other.returncode, other.stderr.partition(" parts")[0]) == (
        2,
        f"mien: {first}: this is a part of 20; expected",
    )
    done = predict(folder, "photos", "--out", "stopped", "--resume", "--json", address=cluster.address)
    assert done.returncode == 1, done.stderr
    assert first.stat().st_mtime_ns == before
    assert pq.read_table(out).to_pylist() == whole(folder)
    told = json.loads(done.stdout)
    assert (told["images"], told["failed"], told["without"], told["parts"], told["out"]) == (N, 1, 1, PARTS, str(out))
    check_manifest(out, told)


def check_manifest(out: Path, told: dict[str, Any]) -> None:
    manifest = json.loads((out / MANIFEST).read_text())
    keys = ("model", "detector", "classes", "limits")
    assert manifest["about"] == {key: told[key] for key in keys}
    assert (manifest["of"], manifest["inputs"]) == (PARTS, N)
    assert manifest["columns"] == pq.read_schema(out / "part-01-of-20.parquet").names
    assert manifest["asked"]["largest"] is False
    assert [part["file"] for part in manifest["parts"]] == [f"part-{part:02}-of-20.parquet" for part in range(1, 21)]
    for part in manifest["parts"]:
        assert part["sha256"] == hashlib.sha256((out / part["file"]).read_bytes()).hexdigest()
    for count in ("images", "n", "without", "uncertain", "failed"):
        assert manifest[count] == told[count] == sum(part[count] for part in manifest["parts"])


@pytest.mark.ray
def test_what_could_not_be_read_is_tried_again(folder: Path, cluster: Any, tmp_path: Path) -> None:
    shutil.copytree(folder / "photos/deep", tmp_path / "deep")
    for arguments, code in (((), 1), (("--resume",), 0)):
        done = predict(tmp_path, "deep", "--out", "told", *arguments, address=cluster.address)
        assert done.returncode == code, done.stderr
        rows = pq.read_table(tmp_path / "told").to_pylist()
        assert [row["path"] for row in rows if row["error"]] == ["deep/200.png"][:code]
        shutil.copy(tmp_path / "deep/201.png", tmp_path / "deep/200.png")
    there = [row for row in whole(folder) if row["path"].startswith("photos/deep")]
    again = {row["path"]: row for row in rows}
    mended = {"path": "deep/200.png"}
    assert again["deep/200.png"] == {**again["deep/201.png"], **mended}
    for row in there:
        name = row["path"].removeprefix("photos/")
        assert row["error"] or again[name] == {**row, "path": name}


@pytest.mark.ray
def test_rows_of_parquet_are_those_of_files(folder: Path, cluster: Any, tmp_path: Path) -> None:
    paths = list(dict.fromkeys(row["path"] for row in whole(folder)))
    images = [(folder / path).read_bytes() for path in paths]
    pq.write_table(
        pa.table({"image": [{"bytes": image, "path": path} for image, path in zip(images[:200], paths, strict=False)]}),
        tmp_path / "a.parquet",
        row_group_size=15,
    )
    (tmp_path / "more").mkdir()
    pq.write_table(pa.table({"photo": images[200:], "file_name": paths[200:]}), tmp_path / "more/b.parquet")
    done = predict(tmp_path, "a.parquet", "more", "--out", "told.parquet", address=cluster.address)
    assert done.returncode == 1, done.stderr
    assert pq.read_table(tmp_path / "told.parquet").to_pylist() == whole(folder)


# Ends with its standard input.
STORE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(*server.get_host_and_port(), sep=":", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an S3 of the test's own."""
    process = subprocess.Popen(
        [REPOSITORY / ".moto/bin/python", "-c", STORE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


@pytest.mark.ray
def test_what_is_read_from_and_written_to_a_store(folder: Path, cluster: Any, store: str) -> None:
    files = S3FileSystem(
        access_key="none", secret_key="none", endpoint_override=store, scheme="http", allow_bucket_creation=True
    )
    files.create_dir("faces")
    for path in sorted((folder / "photos").rglob("*.png")):
        with files.open_output_stream(f"faces/in/{path.relative_to(folder)}") as opened:
            opened.write(path.read_bytes())
    rows = [{**row, "path": f"s3://faces/in/{row['path']}"} for row in whole(folder)]
    where = f"?endpoint_override={store}&scheme=http"
    for out in ("told", "told.parquet"):
        done = predict(
            folder, f"s3://faces/in/photos{where}", "--out", f"s3://faces/{out}{where}", address=cluster.address
        )
        assert done.returncode == 1, done.stderr
        assert done.stdout.splitlines()[-1] == f"answers: s3://faces/{out}"
        assert pq.read_table(f"faces/{out}", filesystem=files).to_pylist() == rows
    with files.open_input_file(f"faces/told/{MANIFEST}") as opened:
        assert json.loads(opened.read())["inputs"] == N
    # Only a row that says so tells of an object that isn't there.
    listed = folder / "list.txt"
    listed.write_text(f"s3://faces/in/none.jpg{where}\ns3://faces/in/photos/000.png{where}\n")
    assert predict(folder, "@list.txt", "--out", "listed.parquet", address=cluster.address).returncode == 1
    told = pq.read_table(folder / "listed.parquet").to_pylist()
    assert [(row["path"], row["error"]) for row in told if row["error"]] == [
        ("s3://faces/in/none.jpg", "there is no such image")
    ]
    assert [row for row in told if not row["error"]] == rows[:1]


@pytest.mark.ray
def test_a_bucket_that_is_not_there(folder: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{store}")
    message = "mien: s3://nowhere: there is no such bucket; expected one that is there\n"
    for given, out in (("s3://nowhere/photos", "none"), ("photos", "s3://nowhere/told")):
        done = call("predict", given, "--engine", "ray", "--out", out)
        assert (done.code, done.err) == (2, message)
    assert not (folder / "none").exists()


@pytest.mark.ray
def test_a_cluster_that_is_not_there(folder: Path) -> None:
    done = predict(folder, "photos/000.png", "--out", "none", address="127.0.0.1:1")
    assert done.returncode == 2
    assert re.fullmatch(
        r"mien: RAY_ADDRESS: there is no Ray cluster at 127\.0\.0\.1:1 \(.*[Cc]onnection refused\); expected "
        r"the address of one that runs, as 10\.0\.0\.1:6379; or none, to use this machine\n",
        done.stderr,
    )
    assert not (folder / "none").exists()


def test_without_ray_one_sentence_names_the_extra(tmp_path: Path) -> None:
    (done,) = installed_with(("data",), [["predict", "photos", "--engine", "ray", "--out", "told"]], tmp_path)
    assert (done.code, done.err) == (
        2,
        "mien: --engine ray needs Ray, which isn't installed; expected pip install 'mien[ray]'\n",
    )


def test_stores_need_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 60)).save("a.png")
    for words, message in (
        (
            ("s3://a/b.png",),
            "s3://a/b.png: an object store is read by Ray alone; expected --engine ray of mien predict",
        ),
        (
            ("a.png", "--out", "s3://a/b.parquet"),
            "s3://a/b.parquet: --out: an object store is written by Ray alone; expected --engine ray",
        ),
    ):
        done = call("predict", *words)
        assert (done.code, done.err) == (2, f"mien: {message}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_mistakes_are_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 60)).save("a.png")
    Path("notes").mkdir()
    Path("notes/mine.txt").write_text("mine")
    pq.write_table(pa.table({"label": [1]}), "labels.parquet")
    Path("whole").mkdir()
    Path("whole", MANIFEST).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    expected = "PATH... and --out, without --shard, --merge, --draw and --camera"
    needs = f"--engine: Ray tells photos, into Parquet; expected {expected}"
    there = "expected another name, or --resume to go on with them"
    for words, message in (
        (("a.png",), needs),
        (("a.png", "--out", "b", "--shard", "1/2"), needs),
        (
            ("a.png", "--out", "labels.parquet"),
            f"{tmp_path}/labels.parquet: --out: answers stand here already; expected another name",
        ),
        (("a.png", "--out", "whole"), f"{tmp_path}/whole: --out: answers stand here already; {there}"),
        (
            ("a.png", "--out", "notes"),
            f"{tmp_path}/notes: --out: this folder holds something else; expected a new folder",
        ),
        (
            ("a.png", "--out", "b.csv"),
            f"{tmp_path}/b.csv: --out: Ray writes Parquet; expected a folder, or FILE.parquet",
        ),
        (("a.png", "--out", "a.png"), f"{tmp_path}/a.png: --out: this is a file; expected a folder, or FILE.parquet"),
        (
            ("labels.parquet", "--out", "b"),
            f"{tmp_path}/labels.parquet: there is no column of images among 'label'; expected 'image', of bytes or of "
            "{bytes, path}",
        ),
    ):
        done = call("predict", *words, "--engine", "ray", *ASKED)
        assert (done.code, done.err) == (2, f"mien: {message}\n"), words
    assert sorted(tmp_path.rglob("*")) == before

"""Start weights: where they come from, what is checked of them, how they are fitted, and what is told of them."""

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from trained import fit
from verbs import call

from mien.augment import Normalize
from mien.data.dataset import Dataset
from mien.data.labels import FER2013
from mien.errors import FailedError, MienError
from mien.experiment.building import build_model
from mien.experiment.schema import Experiment, load_experiment
from mien.inference.model import load_run
from mien.models.googlenet import GoogLeNet
from mien.models.mobilenet import MobileNetV2
from mien.report import facts
from mien.runs.run import Run, new_run
from mien.training.fit import train
from mien.training.start_weights import as_published, find, fitted, read_tensors, start
from mien.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny")

PLUGIN = '''
import os
import torch
from torch import nn
from mien.models.published import Published
from mien.registry import register

steps = 0

@register("model", "net")
class Net(nn.Module):
    """A convolution, batch norm and a last layer; it fails at training step STOP."""

    published = Published(stem="conv", head="fc", unused=("aux",), addresses={"imagenet": "ADDRESS"})

    def __init__(self, in_channels: int, num_classes: int, *, pretrained: str | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        global steps
        steps += self.training
        if steps == int(os.environ.get("STOP", -1)):
            raise RuntimeError("stopped")
        return self.fc(torch.relu(self.bn(self.conv(images))).mean((2, 3)))
'''

FILE = """
name: started
plugins: [net.py]
dataset: {name: tiny, size: 24}
model: {name: net, pretrained: imagenet}
preprocess: [{op: normalize, mean: 0.5, sd: 0.5}]
optimizer: {name: sgd, lr: 0.05}
train: {epochs: 2, batch_size: 32, seed: 1, precision: float32, device: cpu, keep: last}
"""


def drawn(seed: int = 0) -> dict[str, Tensor]:
    """What others would have published for `net`: of 1,000 classes, for colour, with an auxiliary head."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv.weight": (4, 3, 3, 3), "bn.weight": (4,), "bn.bias": (4,), "bn.running_mean": (4,)}
    shapes |= {"bn.running_var": (4,), "fc.weight": (1000, 4), "fc.bias": (1000,), "aux.fc.weight": (1000, 4)}
    return {name: torch.rand(shape, generator=generator) + 0.1 for name, shape in shapes.items()}


class Server(NamedTuple):
    """A server of this machine, the folder that it shows and the requests that it got."""

    address: str
    folder: Path
    asked: list[str]

    def publish(self, content: dict[str, Tensor] | Any, digest: str = "") -> str:
        """Save a state under a name with its digest, or another; gives the address."""
        file = self.folder / "new.pth"
        torch.save(content, file)
        digest = digest or hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(self.folder / f"net-{digest[:8]}.pth")
        return f"{self.address}/net-{digest[:8]}.pth"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other tests are offline; here the server is this machine's own."""
    monkeypatch.delenv("MIEN_OFFLINE")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a folder; what stands below `short/` breaks off halfway, below `large/` it claims to be 10 GB."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder, asked = tmp_path / "public", []
    folder.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            kind, name = self.path.split("/")[-2:]
            if not (folder / name).is_file():
                self.send_error(404)
                return
            data = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(10**10 if kind == "large" else len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if kind == "short" else data)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield Server(f"http://127.0.0.1:{made.server_port}", folder, asked)
        made.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where torch hub keeps weights."""
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes plugin and experiment for weights at an address."""

    def made(address: str) -> Path:
        (tmp_path / "net.py").write_text(PLUGIN.replace("ADDRESS", address))
        (tmp_path / "started.yaml").write_text(FILE)
        return tmp_path / "started.yaml"

    return made


def begin(file: Path, workspace: Workspace, *overrides: str) -> tuple[nn.Module, dict[str, Any]]:
    """A model with its start weights, and the record of them."""
    experiment = load_experiment(file, overrides)
    model = build_model(experiment, FER2013)
    return model, start(model, experiment, FER2013, workspace)


class TestPublished:
    def test_they_are_downloaded_once_recorded_and_trained_from(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path
    ) -> None:
        address = server.publish(drawn())
        still = ["optimizer.lr=1e-30", "train.epochs=1"]
        run = fit(workspace, write(address), *still)
        again = fit(workspace, write(address), *still)
        (file,) = server.folder.iterdir()
        record = {
            "name": "imagenet",
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "source": address,
            "input": {"mean": 0.5, "sd": 0.5, "used": True},
        }
        assert server.asked == [f"/{file.name}"]
        assert (cache / file.name).read_bytes() == file.read_bytes()
        assert [run.environment["start_weights"], again.environment["start_weights"]] == [record] * 2
        with safe_open(run.weights, framework="pt") as opened:
            assert json.loads(opened.metadata()["mien"])["start_weights"] == record
        # No step has moved a weight: the convolution is the published one, the last layer is the seed's.
        weights = load_file(run.weights)
        random = build_model(run.experiment, FER2013).state_dict()
        torch.testing.assert_close(weights["conv.weight"], drawn()["conv.weight"].sum(1, keepdim=True))
        assert torch.equal(weights["bn.bias"], drawn()["bn.bias"])
        assert torch.equal(weights["fc.weight"], random["fc.weight"])
        assert again.weights.read_bytes() == run.weights.read_bytes()

    def test_they_are_shown_in_the_report(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace
    ) -> None:
        address = server.publish(drawn())
        run = fit(workspace, write(address), "train.epochs=1", "preprocess=[]")
        made = run.environment["start_weights"]
        assert made["input"] == {"mean": 0.5, "sd": 0.5, "used": False}
        told = f"imagenet ({made['file']}, SHA-256 {made['sha256'][:8]}), input not normalised as theirs was"
        assert facts.about(run, run.environment).endswith(f" · seed 1 · start weights {told}")
        shown = dict(facts.record(run, run.environment)["environment"])["start weights"]
        assert f"file {made['file']}, sha256 {made['sha256']}, source {address}" in shown

    def test_another_file_is_refused_and_nothing_stays(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path
    ) -> None:
        address = server.publish(drawn(), "0123456789")
        (file,) = server.folder.iterdir()
        found = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        with pytest.raises(FailedError) as error:
            begin(write(address), workspace)
        assert (
            str(error.value) == f"{address}: this is another file: its SHA-256 begins with {found}; expected 01234567"
        )
        assert list(cache.iterdir()) == []

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("short", "the download broke off after {half:,} of {whole:,} bytes"),
            ("large", "this is more than 256 MB"),
            ("none/at", "start weights can't be downloaded (HTTP Error 404: Not Found)"),
        ],
    )
    def test_a_failed_download_leaves_nothing(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path, kind: str, message: str
    ) -> None:
        server.publish(drawn())
        (file,) = server.folder.iterdir()
        whole = len(file.read_bytes())
        name = "net-01234567.pth" if kind == "none/at" else file.name
        with pytest.raises(FailedError) as error:
            begin(write(f"{server.address}/{kind}/{name}"), workspace)
        assert error.value.message == message.format(half=whole // 2, whole=whole)
        assert error.value.exit_code == 1
        assert list(cache.iterdir()) == []

    def test_without_a_connection_the_cache_is_named(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path
    ) -> None:
        address = "http://127.0.0.1:1/net-01234567.pth"
        file = write(address)
        result = call("train", file, "--workspace", workspace.root, "--json")
        assert result.code == 1
        assert result.error.file == address
        assert result.error.message == "start weights can't be downloaded (connection refused)"
        assert result.error.expected == f"a connection, or the file in {cache}"
        assert not workspace.runs.exists()

    def test_a_file_that_breaks_its_names_promise_is_refused(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path
    ) -> None:
        file = write(f"{server.address}/net-01234567.pth")
        cache.mkdir(parents=True)
        for path in (cache / "net-01234567.pth", workspace.root / "net-01234567.pth"):
            torch.save(drawn(), path)
            found = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
            given = "imagenet" if path.parent == cache else "net-01234567.pth"
            with pytest.raises(MienError) as error:
                begin(file, workspace, f"model.pretrained={given}")
            assert str(error.value) == (
                f"model.pretrained: '{path}' isn't what its name promises: its SHA-256 begins with {found}"
                "; expected 01234567; remove the file and get it anew"
            )
        assert server.asked == []

    def test_check_downloads_nothing(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace, cache: Path
    ) -> None:
        address = server.publish(drawn())
        file = write(address)
        shown = call("check", file, "--workspace", workspace.root)
        assert f"start weights: imagenet, to be downloaded from {address}" in shown.out.splitlines()
        assert server.asked == []
        begin(file, workspace)
        found = call("check", file, "--workspace", workspace.root, "--json")
        assert found.json["start_weights"]["file"] == address.rpartition("/")[2]
        assert call("check", file, "model.pretrained=null", "--workspace", workspace.root, "--json").json[
            "start_weights"
        ] == {"name": "random"}


class TestOwnFile:
    @pytest.mark.parametrize("name", ["own.safetensors", "own.pth", "old.pth", "deep/own.pt"])
    def test_a_file_of_ones_own_is_found_from_the_workspace(
        self, write: Callable[[str], Path], workspace: Workspace, name: str
    ) -> None:
        path = workspace.root / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(drawn(), path)
        else:
            torch.save(drawn(), path, _use_new_zipfile_serialization=not name.startswith("old"))
        model, record = begin(write(""), workspace, f"model.pretrained={name}")
        assert torch.equal(model.state_dict()["bn.running_var"], drawn()["bn.running_var"])
        assert record == {
            "name": path.name,
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "source": name,
            "input": {"mean": 0.5, "sd": 0.5, "used": True},
        }
        assert begin(write(""), workspace, f"model.pretrained={path}")[1]["sha256"] == record["sha256"]

    def test_one_that_is_not_there_is_told_before_there_is_a_run(
        self, write: Callable[[str], Path], workspace: Workspace
    ) -> None:
        file = write("")
        file.write_text(FILE.replace("pretrained: imagenet", "pretrained: imagnet"))
        for verb in ("train", "check"):
            result = call(verb, file, "--workspace", workspace.root)
            assert result.code == 2
            assert result.err == (
                f"mien: {file}:5: model.pretrained: there is no file '{workspace.root}/imagnet' with start weights; "
                "expected imagenet, or a .safetensors or .pth file or a run, by its path from the workspace. "
                "Did you mean 'imagenet'?\n"
            )
        assert not workspace.runs.exists()

    def test_one_that_does_not_fit_is_told_before_there_is_a_run(
        self, write: Callable[[str], Path], workspace: Workspace
    ) -> None:
        tensors = {f"module.{name}": tensor for name, tensor in drawn().items() if name.startswith("bn")}
        save_file(tensors | {"conv.weight": torch.zeros(4, 3, 5, 5)}, workspace.root / "own.safetensors")
        result = call("train", write(""), "model.pretrained=own.safetensors", "--workspace", workspace.root, "--json")
        assert result.code == 2
        assert result.error.key == "model.pretrained"
        assert result.error.message == (
            f"'{workspace.root}/own.safetensors' doesn't fit the model; tensors: "
            "4 missing (bn.weight, bn.bias, bn.running_mean, …), "
            "4 too many (module.bn.bias, module.bn.running_mean, module.bn.running_var, …), "
            "1 of another shape (conv.weight (4, 1, 5, 5) for (4, 1, 3, 3))"
        )
        assert not workspace.runs.exists()

    def test_code_in_a_file_does_not_run(
        self, server: Server, write: Callable[[str], Path], workspace: Workspace
    ) -> None:
        mark = workspace.root / "mark"

        class Hostile:
            def __reduce__(self) -> Any:
                return (Path.touch, (mark,))

        content = drawn() | {"conv.bias": Hostile()}
        file = write(server.publish(content))
        for zipped in (True, False):
            torch.save(content, workspace.root / "own.pth", _use_new_zipfile_serialization=zipped)
            for given in ("own.pth", "imagenet"):
                with pytest.raises(MienError, match="isn't a whole file of tensors and nothing else") as error:
                    begin(file, workspace, f"model.pretrained={given}")
                assert error.value.expected is not None
                assert error.value.expected.endswith("code in it isn't run")
        assert not mark.exists()
        torch.load(workspace.root / "own.pth", weights_only=False)
        assert mark.exists()  # It would have run.

    @pytest.mark.parametrize("name", ["own.safetensors", "own.pth", "old.pth"])
    @pytest.mark.parametrize("part", [0, 7, 0.5, 0.99])
    def test_a_file_that_is_cut_off_is_refused(self, tmp_path: Path, name: str, part: float) -> None:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(drawn(), path)
        else:
            torch.save(drawn(), path, _use_new_zipfile_serialization=not name.startswith("old"))
        data = path.read_bytes()
        path.write_bytes(data[: part if isinstance(part, int) else int(len(data) * part)])
        with pytest.raises(MienError, match=r"^isn't a whole file of tensors and nothing else"):
            read_tensors(path)

    @pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": drawn()}, {1: torch.zeros(1)}, {"epoch": 3}])
    def test_what_holds_other_things_is_refused(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "own.pth")
        with pytest.raises(MienError, match=r"^isn't a whole file of tensors and nothing else"):
            read_tensors(tmp_path / "own.pth")

    def test_a_model_that_does_not_say_how_takes_none(
        self, write: Callable[[str], Path], workspace: Workspace, tmp_path: Path
    ) -> None:
        file = write("")
        text = (tmp_path / "net.py").read_text()
        (tmp_path / "net.py").write_text(text.replace("    published = Published", "    other = Published"))
        with pytest.raises(MienError, match="the model 'net' doesn't say how weights fit it") as error:
            begin(file, workspace)
        assert error.value.key == "model.pretrained"
        (tmp_path / "net.py").write_text(text.replace('head="fc"', 'head="last"'))
        save_file(drawn(), workspace.root / "own.safetensors")
        with pytest.raises(MienError, match=r"the model has no 'conv.weight' or no 'last.…', which its `published`"):
            begin(file, workspace, "model.pretrained=own.safetensors")


class TestRuns:
    def test_random_weights_are_called_random(self, workspace: Workspace, tiny_file: Path) -> None:
        run = fit(workspace, tiny_file, "train.epochs=1")
        assert run.environment["start_weights"] == {"name": "random"}
        with safe_open(run.weights, framework="pt") as opened:
            assert json.loads(opened.metadata()["mien"])["start_weights"] == {"name": "random"}
        assert facts.about(run, run.environment).endswith(" · seed 1 · start weights random")
        assert dict(facts.record(run, run.environment)["environment"])["start weights"] == "random"

    def test_a_run_goes_on_and_is_measured_without_the_file(
        self,
        write: Callable[[str], Path],
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save_file(drawn(), workspace.root / "own.safetensors")
        file, own = write(""), "model.pretrained=own.safetensors"
        whole = fit(workspace, file, own)
        monkeypatch.setenv("STOP", "8")  # In the second epoch of five steps.
        with pytest.raises(RuntimeError, match="stopped"):
            fit(workspace, file, own)
        monkeypatch.delenv("STOP")
        (workspace.root / "own.safetensors").unlink()
        run = Run(workspace.runs / "started" / "2")
        before = run.environment["start_weights"]
        train(workspace, run, ["test"])
        assert run.state == "finished"
        assert run.environment["start_weights"] == before == whole.environment["start_weights"]
        assert run.weights.read_bytes() == whole.weights.read_bytes()
        assert load_run(run).color == "gray"

    def test_a_run_that_was_stopped_in_its_first_epoch_begins_with_the_same(
        self, write: Callable[[str], Path], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = workspace.root / "own.safetensors"
        save_file(drawn(), path)
        file, own = write(""), "model.pretrained=own.safetensors"
        whole = fit(workspace, file, own)
        monkeypatch.setenv("STOP", "3")
        with pytest.raises(RuntimeError, match="stopped"):
            fit(workspace, file, own)
        monkeypatch.delenv("STOP")
        run = Run(workspace.runs / "started" / "2")
        first = hashlib.sha256(path.read_bytes()).hexdigest()
        save_file(drawn(seed=1), path)
        other = hashlib.sha256(path.read_bytes()).hexdigest()
        with pytest.raises(MienError) as error:
            train(workspace, run, ["test"])
        assert str(error.value) == (
            "model.pretrained: the start weights have changed since run started/2 began; "
            f"expected SHA-256 {first[:16]}, but it is {other[:16]}"
        )
        save_file(drawn(), path)
        train(workspace, run, ["test"])
        assert run.weights.read_bytes() == whole.weights.read_bytes()

    def test_start_weights_move_no_seed(self, write: Callable[[str], Path], workspace: Workspace) -> None:
        save_file(drawn(), workspace.root / "own.safetensors")
        file = write("")
        random = build_model(load_experiment(file, ["model.pretrained=null"]), FER2013)
        after = torch.rand(1)
        model, _ = begin(file, workspace, "model.pretrained=own.safetensors")
        assert torch.equal(torch.rand(1), after)
        assert torch.equal(model.state_dict()["fc.weight"], random.state_dict()["fc.weight"])
        assert not torch.equal(model.state_dict()["conv.weight"], random.state_dict()["conv.weight"])


def checkpoint_of_torchvision() -> dict[str, Tensor]:
    """Names and shapes of googlenet-1378be20.pth, with other values; it has no counts of batches."""
    torch.manual_seed(0)
    state = GoogLeNet(3, 224, 1000).state_dict()
    for part, channels in (("aux1", 512), ("aux2", 528)):
        state[f"{part}.conv.conv.weight"] = torch.zeros(128, channels, 1, 1)
        state |= {f"{part}.conv.bn.{name}": torch.zeros(128) for name in ("weight", "bias")}
        state |= {f"{part}.conv.bn.running_{name}": torch.zeros(128) for name in ("mean", "var")}
        state |= {f"{part}.fc1.weight": torch.zeros(1024, 2048), f"{part}.fc1.bias": torch.zeros(1024)}
        state |= {f"{part}.fc2.weight": torch.zeros(1000, 1024), f"{part}.fc2.bias": torch.zeros(1000)}
    for name, tensor in state.items():
        if name.endswith(("bn.bias", "running_mean")):
            tensor.normal_()
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


class TestGoogLeNet:
    def test_torchvisions_checkpoint_fits_in_colour_and_in_gray(self) -> None:
        tensors = checkpoint_of_torchvision()
        # 57 convolutions and their batch norms, fc, and two heads of a convolution and two layers.
        assert len(tensors) == 57 * 5 + 2 + 2 * (5 + 4)
        published = GoogLeNet.published
        torch.manual_seed(1)
        colour, gray = GoogLeNet(3, 48, 7).eval(), GoogLeNet(1, 48, 7).eval()
        head = colour.fc.weight.clone()
        colour.load_state_dict(fitted(colour, published, tensors))
        gray.load_state_dict(fitted(gray, published, tensors) | {"fc.weight": head, "fc.bias": colour.fc.bias.data})
        assert torch.equal(colour.fc.weight, head)
        own = colour.state_dict()
        taken = [name for name in own if name in tensors and torch.equal(own[name], tensors[name])]
        assert len(taken) == 57 * 5
        images = torch.rand(3, 1, 48, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(gray(images), colour(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)

    def test_its_address_promises_its_digest(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCH_HOME", str(workspace.root / "torch"))
        experiment = load_experiment(REPOSITORY / "experiments/paper-2021/googlenet-imagenet.yaml")
        source = find(experiment, workspace)
        assert source is not None
        assert source.address == "https://download.pytorch.org/models/googlenet-1378be20.pth"
        assert (source.path, source.digest) == (None, "1378be20")
        assert as_published(experiment, GoogLeNet.published)

    def test_the_op_normalize_is_torchvisions_input(self) -> None:
        # transforms.Normalize with ImageNet's mean and sd, then GoogLeNet's transform_input, as torchvision has them.
        images = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)).double()
        mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
        sd = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)
        theirs = (images / 255 - mean) / sd
        theirs = torch.cat(
            [
                theirs[:, :1] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5,
                theirs[:, 1:2] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5,
                theirs[:, 2:] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5,
            ],
            dim=1,
        )
        torch.testing.assert_close(theirs, images / 127.5 - 1, rtol=0, atol=1e-12)
        published = GoogLeNet.published
        ours, _ = Normalize(mean=published.mean, sd=published.sd)(images.float())
        torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "used"),
    [
        (["preprocess=[{op: normalize, mean: 0.5, sd: 0.5}]"], True),
        (["preprocess=[{op: repeat_channels}, {op: normalize, mean: 0.5, sd: 0.5}]"], True),
        (["preprocess=[{op: resize, size: 32}, {op: normalize}]", "dataset.color=rgb"], True),
        (["preprocess=[{op: normalize, mean: 0.5, sd: 0.25}]"], False),
        (["preprocess=[]"], False),
        (["preprocess=[{op: repeat_channels, n: 4}, {op: normalize}]"], False),
    ],
)
def test_whether_the_input_is_the_published_one(write: Callable[[str], Path], overrides: list[str], used: bool) -> None:
    experiment: Experiment = load_experiment(write(""), overrides)
    assert as_published(experiment, GoogLeNet.published) is used


def test_nothing_but_a_training_reads_start_weights(
    workspace: Workspace, tiny: Dataset, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A model of another run, or a twin with random weights, is built without them.
    experiment = load_experiment(tiny_file, ["model={name: mobilenet_v2, pretrained: nowhere.pth}"])
    model = build_model(experiment, FER2013)
    assert isinstance(model, MobileNetV2)
    assert model.pretrained == "nowhere.pth"
    with pytest.raises(MienError, match="there is no file"):
        train(workspace, new_run(workspace, experiment), ["test"])


STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def features(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The last features of a MobileNetV2, (n, 1280), by functions alone, from the paper's table."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{convolution}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        mean, variance, scale, shift = (
            state[f"{norm}.{name}"].view(-1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) * torch.rsqrt(variance + 1e-5) * scale + shift

    x = layer(images, "features.0.0", "features.0.1", stride=2).clamp(0, 6)
    number, channels = 0, 32
    for expansion, outputs, blocks, stride in STAGES:
        for block in range(blocks):
            number += 1
            name, y, part = f"features.{number}.conv", x, 0
            if expansion > 1:
                y, part = layer(y, f"{name}.0.0", f"{name}.0.1").clamp(0, 6), 1
            step = stride if block == 0 else 1
            y = layer(y, f"{name}.{part}.0", f"{name}.{part}.1", step, channels * expansion).clamp(0, 6)
            y = layer(y, f"{name}.{part + 1}", f"{name}.{part + 2}")
            x = x + y if step == 1 and channels == outputs else y
            channels = outputs
    return layer(x, "features.18.0", "features.18.1").clamp(0, 6).mean((2, 3))


class TestMobileNetV2:
    @pytest.fixture
    def file(self, real_data: Path) -> Path:
        path = real_data.parent / "weights" / "mobilenet_v2_imagenet.safetensors"
        if not path.is_file():
            pytest.skip("beside the real data there are no weights")
        return path

    def test_the_real_weights_give_what_plain_functions_give(self, file: Path, workspace: Workspace) -> None:
        experiment = load_experiment(
            REPOSITORY / "experiments/paper-2021/mobilenet-imagenet-48.yaml", [f"model.pretrained={file}"]
        )
        model = build_model(experiment, FER2013).eval()
        record = start(model, experiment, FER2013, workspace)
        assert record["sha256"] == "6344431015e06e5a1dd8e93e0e6560d7a7e6d7f96156e7c293d4d0ff69633d32"
        assert record["input"] == {"mean": 0.5, "sd": 0.5, "used": True}
        state = load_file(file)
        own = model.state_dict()
        different = [name for name in state if not torch.equal(own[name], state[name])]
        assert different == ["classifier.1.bias", "classifier.1.weight"]
        images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.no_grad():
            expected = F.linear(features(state, images), own["classifier.1.weight"], own["classifier.1.bias"])
            torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-5)

    def test_with_their_own_last_layer_they_know_the_pictures_of_scikit_image(self, file: Path) -> None:
        import skimage.data
        from PIL import Image

        state = load_file(file)
        model = MobileNetV2(3, 224, 1000).eval()
        model.load_state_dict(state)
        normalize = Normalize(mean=MobileNetV2.published.mean, sd=MobileNetV2.published.sd)
        # ImageNet's classes: three kinds of cats, espresso, missile.
        for name, classes in (("chelsea", {281, 282, 285}), ("coffee", {967}), ("rocket", {657})):
            picture = Image.fromarray(getattr(skimage.data, name)())
            left, top = (picture.width - min(picture.size)) // 2, (picture.height - min(picture.size)) // 2
            square = picture.crop((left, top, left + min(picture.size), top + min(picture.size))).resize((224, 224))
            images, _ = normalize(torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float())
            with torch.no_grad():
                assert int(model(images).argmax()) in classes, name

"""Graphs that score as their detectors do, model cards, and a hub on loopback to push them to."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

import bundles
import spectttra_folders
from earwitness.core.errors import DetectorError
from earwitness.detectors import export as work
from earwitness.detectors import network
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.detectors.loading import open_detector
from earwitness.detectors.nets.resnet18 import ResNet18, load_resnet, scale_images
from earwitness.detectors.network import LARGEST_GAP, HasGraph
from resnets import write_resnet

GAMMA = "sonics-spectttra-gamma-5s"


def make_specnn(folder: Path) -> None:
    bundles.write_specnn(folder / "variables" / "variables", bundles.specnn_variables())


def make_resnet(folder: Path) -> None:
    write_resnet(folder, classes=("Deepfake", "Original"))


def make_gamma(folder: Path) -> None:
    spectttra_folders.write_folder(folder, GAMMA)


MAKERS: dict[str, Callable[[Path], None]] = {
    "resnet18": make_resnet,
    "specnn_amplitude": make_specnn,
    GAMMA: make_gamma,
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_graphs_score_as_their_detectors_do(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "weights")
    detector = open_detector(name, weights={name: tmp_path / "weights"})
    assert work.write_onnx(detector, tmp_path / "out") <= LARGEST_GAP
    assert isinstance(detector, HasGraph)
    graph = detector.graph()
    n_samples = detector.card.contract.clip_samples or 0
    clips = 0.2 * np.random.default_rng(7).standard_normal((3, n_samples)).astype(np.float32)
    with torch.inference_mode():
        features = graph.features(torch.from_numpy(clips))
        wanted = graph.network(features)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    got = session.run(list(graph.outputs), {"features": features.numpy()})
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-4)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert head["license_name"] == detector.card.licence
    assert detector.card.limits in text
    assert (tmp_path / "out" / "spectrogram.json").is_file() is (name == "resnet18")


def test_a_graph_with_other_logits_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_gamma(tmp_path / GAMMA)
    detector = open_detector(str(tmp_path / GAMMA))
    compare = work._compare
    monkeypatch.setattr(work, "_compare", lambda model, given, _: compare(model, given, np.ones(5)))
    with pytest.raises(DetectorError, match=r"the graph's logits differ by .*, expected at most"):
        work.write_onnx(detector, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_has_no_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 0.0, tmp_path / "mine")
    with pytest.raises(DetectorError, match="mine: has no network to export"):
        work.write_onnx(open_detector(str(tmp_path / "mine")), tmp_path / "out")
    make_resnet(tmp_path / "weights")
    monkeypatch.setattr(network, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(DetectorError, match=r"--format onnx: no_such_package not installed"):
        work.write_onnx(open_detector(str(tmp_path / "weights")), tmp_path / "out")


class Hub(http.server.BaseHTTPRequestHandler):
    """Takes what the hub's client uploads, as the hub does for small files."""

    files: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.reply({"url": self.hub_url()})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            kept = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self.reply({"files": kept})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            self.reply(
                {"commitOid": "a" * 40, "commitUrl": self.hub_url() + "/commit/1", "success": True}
            )

    def hub_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/someone/net"

    def do_GET(self) -> None:
        self.reply({"siblings": [], "id": "someone/net", "sha": "a" * 40})

    def reply(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}
    handler = type("Handler", (Hub,), {"files": files})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", files
        server.shutdown()


def test_a_folder_is_pushed_to_the_hub(hub: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    url, files = hub
    make_gamma(tmp_path / "weights")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": url, "HF_TOKEN": "hf_x", "HF_HOME": str(tmp_path / "home")}
    options = ("--weights", tmp_path / "weights", "--out", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-m", "earwitness", "export", *options, "--push-to-hub", "someone/net"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "logits differ from the detector's by" in done.stdout
    assert "uploaded to" in done.stdout
    assert set(files) == {"model.onnx", "README.md", "card.json"}
    assert files["model.onnx"] == (tmp_path / "out" / "model.onnx").read_bytes()
    assert not done.stderr.strip()


def published_network() -> ResNet18:
    """Return a network as the published training script makes it: the head behind dropout."""
    network = ResNet18(2)
    network.fc = torch.nn.Sequential(torch.nn.Dropout(0.3), network.fc)  # type: ignore[assignment]
    return network.eval()


@pytest.mark.parametrize("classes", [("Original", "Deepfake"), ("Deepfake", "Original")])
def test_the_published_shape_loads_in_a_script_and_here(
    classes: tuple[str, str], tmp_path: Path
) -> None:
    write_resnet(tmp_path / "mine", classes=classes)
    detector = load_resnet(tmp_path / "mine")
    path = work.write_folder(detector, tmp_path / "theirs", published=True)
    assert path.name == "best_laundered_processed.pth"
    network = published_network()
    state = torch.load(path, weights_only=True)
    assert "fc.1.weight" in state
    network.load_state_dict(state, strict=True)
    image = np.random.default_rng(0).integers(0, 256, (32, 224, 3), dtype=np.uint8)
    (logit,) = detector.score_images([image])
    with torch.inference_mode():
        outputs = network(scale_images(torch.from_numpy(image[None])))[0].double()
    assert float(outputs[0] - outputs[1]) == pytest.approx(logit, abs=1e-4)
    for source in (tmp_path / "theirs", path):
        again = load_resnet(source)
        assert again.card.classes == ("Deepfake", "Original")
        assert again.score_images([image])[0] == pytest.approx(logit, abs=1e-4)
    opened = open_detector(str(tmp_path / "theirs"))
    assert opened.card.images == detector.card.images


def test_other_detectors_are_no_image_networks(tmp_path: Path) -> None:
    make_gamma(tmp_path)
    detector = open_detector(GAMMA, weights={GAMMA: tmp_path})
    with pytest.raises(DetectorError, match="expected a resnet18"):
        work.write_folder(detector, tmp_path / "out")

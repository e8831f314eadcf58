"""Models for the contract: a chat server on loopback, and small image classifiers really exported to files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_registry.cohorts.schema import StudyBatch

Behaviour = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


def send(
    handler: BaseHTTPRequestHandler, body: Any, *, status: int = 200, kind: str = "application/json", **headers: str
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def completion(text: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    } | more


def well(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """An answer that depends on all of the messages and on nothing else."""
    asked = json.dumps(body["messages"], sort_keys=True).encode()
    send(handler, completion(f"Finding {hashlib.sha256(asked).hexdigest()[:8]}."))


@dataclass(kw_only=True)
class ChatServer:
    """A server that speaks the real protocol; ``then`` holds what it does to the next requests, before it does well."""

    port: int = 0
    then: list[Behaviour] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    together: int = 0
    most_together: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
            behaviour = self.then.pop(0) if self.then else well
        time.sleep(0.01)  # so long a client that has its answer may be ahead of the thread that gave it
        with self.lock:
            self.together += 1
            self.most_together = max(self.most_together, self.together)
        try:
            behaviour(handler, body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client lost its patience, as it was meant to
        finally:
            with self.lock:
                self.together -= 1

    def clear(self) -> None:
        for seen in (self.then, self.bodies, self.headers, self.paths):
            seen.clear()
        self.most_together = 0


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def save_endpoint(folder: Path, host: str, **more: Any) -> Path:
    wishes = {
        "url": f"http://{host}/v1",
        "model": "tiny",
        "prompt": "Write the report.",
        "image": True,
        "text_inputs": ["text.indication"],
        "generation": {"max_tokens": 64, "temperature": 0, "seed": 7},
        "timeout_seconds": 5,
        "retries": 2,
        "concurrency": 4,
    }
    wishes = {name: value for name, value in (wishes | more).items() if value is not None}
    (folder / "auscult.json").write_text(json.dumps(wishes))
    return folder


CLASSIFIER = {
    "labels": ["effusion", "pneumothorax"],
    "input": {"size": 24, "channels": 1, "mean": [0.5], "std": [0.25]},
    "activation": "sigmoid",
    "thresholds": {"effusion": 0.5},
    "threshold_source": "made up for tests",
}


def save_wishes(folder: Path, **more: Any) -> Path:
    wishes = {name: value for name, value in (CLASSIFIER | more).items() if value is not None}
    (folder / "auscult.json").write_text(json.dumps(wishes))
    return folder


def small_net(channels: int = 1) -> Any:
    """A classifier of two findings with weights that tell pictures apart."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(channels, 4, 3, stride=2)
            self.norm = torch.nn.BatchNorm2d(4)
            self.act = torch.nn.ReLU(inplace=True)
            self.drop = torch.nn.Dropout(0.3)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            hidden = self.act(self.norm(self.first(x)))
            return self.head(self.drop(hidden.flatten(2).mean(-1).view(x.shape[0], 4)))

    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Net()
        net.norm.running_mean.normal_()
        net.head.weight.data.mul_(4)
    return net.eval()


def export(net: Any, path: Path, *, studies: int | None = None, channels: int = 1, examples: bool = False) -> None:
    """Really exported: with any number of studies, or for a fixed one."""
    import torch

    dim = ({0: torch.export.Dim("studies", min=1, max=64)},) if studies is None else None
    picture = torch.zeros(studies or 2, channels, 24, 24)
    program = torch.export.export(net, (picture,), dynamic_shapes=dim)
    if not examples:
        program.example_inputs = None
    torch.export.save(program, path)


def save_onnx(net: Any, path: Path, *, studies: int | str = "studies", nodes: Any = (), **more: Any) -> None:
    """The same classifier written as an ONNX graph by hand: operators, then weights."""
    import onnx as library
    from onnx import TensorProto, helper, numpy_helper

    weights = {name.replace(".", "_"): value.numpy() for name, value in net.state_dict().items() if value.ndim}
    norm = [f"norm_{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first_weight", "first_bias"], ["a"], strides=[2, 2]),
            helper.make_node("BatchNormalization", ["a", *norm], ["b"], epsilon=1e-5),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Flatten", ["d"], ["e"]),
            helper.make_node("Gemm", ["e", "head_weight", "head_bias"], ["y"], transB=1),
            *nodes,
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [studies, 1, 24, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [studies, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    library.save_model(model, str(path), **more)


def save_torch_export(folder: Path) -> Path:
    export(small_net(), save_wishes(folder) / "model.pt2")
    return folder


def save_onnx_classifier(folder: Path) -> Path:
    """The same classifier; the test is skipped where the extra ``onnx`` is not installed."""
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    save_onnx(small_net(), save_wishes(folder) / "model.onnx")
    return folder


def studies(n=9, shape=(24, 24), missing=()):
    rng = np.random.default_rng(1)
    names = tuple(f"s{k}" for k in range(n))
    images = [None if k in missing else rng.integers(0, 256, shape, np.uint8) for k in range(n)]
    return StudyBatch(study_ids=names, patient_ids=names, images=images)


def expected(net, batch) -> np.ndarray:
    """What torch itself answers for pictures that need no resizing."""
    import torch

    rows = np.stack([image for image in batch.images if image is not None]).astype(np.float32)
    with torch.no_grad():
        return torch.sigmoid(net((torch.from_numpy(rows)[:, None] / 255 - 0.5) / 0.25)).numpy()

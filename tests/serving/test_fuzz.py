"""Damaged requests to the local server: an error of the client's or an answer, and never one of the server's."""

import base64
import http.client
import json
import urllib.parse

import grpc
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fada_tf.data.images import encode_png
from tests import trained
from tests.mutations import damaged, fuzz, replaced
from tests.serving.test_contract import X, request

TOY = {"instances": [[1.0, 2.0], [3.0, 4.0]]}
MIXED = {"signature_name": "mixed", "inputs": {"number": [1, 2], "name": ["a", {"b64": "/w=="}]}}
CLIENTS_FAULT = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNIMPLEMENTED,
}  # fmt: skip
TRAVERSAL = ["/../../etc/passwd", "/page/../../../etc/passwd", "/v1/models/..%2f..%2fetc:predict", "/%2e%2e/%2e%2e/x"]


@pytest.fixture(scope="module")
def encoded() -> dict:
    picture = encode_png(trained.pictures(1)[0])
    return {"signature_name": "encoded", "instances": [{"b64": base64.b64encode(picture).decode()}]}


def ask(server, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Sends a request with this very path, which other clients would tidy up."""
    connection = http.client.HTTPConnection(urllib.parse.urlparse(server.rest).netloc, timeout=30)
    try:
        connection.putrequest(method, path)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def assert_well(status: int, text: bytes) -> None:
    assert status == 200 or 400 <= status < 500, text
    assert status == 200 or json.loads(text)["error"]


@fuzz
@hypothesis.given(data=st.data())
def test_rest_bodies(server, encoded, data):
    model, values = data.draw(st.sampled_from([("toy", TOY), ("toy", MIXED), ("segmenter", encoded)]))
    if data.draw(st.booleans()):
        body = json.dumps(replaced(data.draw, values)).encode()
    else:
        body = damaged(data.draw, json.dumps(values).encode())
    assert_well(*ask(server, "POST", f"/v1/models/{model}:predict", body))


@fuzz
@hypothesis.given(data=st.data())
def test_rest_paths(server, data):
    parts = [
        "v1",
        "models",
        "toy",
        "versions",
        "1",
        "labels",
        "metadata",
        "..",
        "%2e%2e",
        "%00",
        "9" * 30,
        "-1",
        ":predict",
    ]
    path = "/" + "/".join(data.draw(st.lists(st.sampled_from(parts), max_size=7)))
    status, text = ask(server, data.draw(st.sampled_from(["GET", "POST"])), path, json.dumps(TOY).encode())
    if path != "/":
        assert_well(status, text)


@pytest.mark.parametrize("path", TRAVERSAL)
def test_no_path_leads_to_other_files(server, path):
    status, text = ask(server, "GET", path)
    assert 400 <= status < 500
    assert b"root:" not in text


@fuzz
@hypothesis.given(data=st.data())
def test_grpc_bytes(server, data):
    picture = np.array([encode_png(trained.pictures(1)[0])], object)
    made = data.draw(st.sampled_from(["toy", "mixed", "segmenter"]))
    seed = {
        "toy": lambda: request(x=X),
        "mixed": lambda: request(signature="mixed", number=np.array([1], np.int32), name=np.array([b"a"], object)),
        "segmenter": lambda: request("segmenter", signature="encoded", encoded=picture),
    }[made]().SerializeToString()
    predict = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    try:
        predict(damaged(data.draw, seed), timeout=30)
    except grpc.RpcError as error:
        assert error.code() in CLIENTS_FAULT | {grpc.StatusCode.INTERNAL}, error
        if error.code() == grpc.StatusCode.INTERNAL:  # grpc's own word for bytes that are no message
            assert "deserializ" in error.details()


def test_the_server_is_still_well(server):
    assert server.predict("toy", TOY).status_code == 200

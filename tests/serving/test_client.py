"""The client: without TensorFlow, a picture or a folder, REST or gRPC, retries, its program."""

import http.server
import json
import pathlib
import subprocess
import sys
import threading
import typing

import numpy as np
import pytest
from PIL import Image

from fada_tf.data import images
from serving import client
from serving.client import Client, ServingError, segment
from tests import scenes, trained
from tests.pictures import picture_file, sixteen_bits

ROOT = pathlib.Path(__file__).parents[2]


def test_neither_tensorflow_nor_the_library_is_imported():
    probe = (
        "import sys; import serving.client as c\n"
        "c.Client('http://127.0.0.1:1'); c.Client('grpc://127.0.0.1:1')\n"
        "sys.exit(str([n for n in sys.modules if n.partition('.')[0] in ('tensorflow', 'keras', 'fada_tf', 'absl')]))"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.strip() == "[]"


def test_pictures_have_the_suffixes_of_all_programs_and_hidden_ones_are_left_alone(tmp_path):
    assert client.SUFFIXES == images.SUFFIXES
    for name in ("a.jpg", "b/c.JFIF", "._a.jpg", ".thumbnails/a.jpg", "b/.d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert client.find_pictures(str(tmp_path)) == (str(tmp_path), ["a.jpg", "b/c.JFIF"])


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_a_folder_becomes_masks_and_overlays(server, tmp_path, interface):
    folder = tmp_path / "photos"
    scenes.write_folder(folder, 3, dusk=False)
    (folder / "images/deep").mkdir()
    Image.fromarray(trained.pictures(1)[0]).convert("RGBA").save(folder / "images/deep/alpha.webp", lossless=True)
    (folder / "images/bad.jpg").write_text("no picture")
    address = server.rest if interface == "rest" else f"grpc://{server.grpc}"
    command = [
        sys.executable, "-m", "serving.client", f"--images={folder}/images", f"--output={tmp_path}/out",
        f"--server={address}", "--version=1",
    ]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert next(line for line in result.stderr.splitlines() if line.startswith("error:")).startswith("error: bad.jpg: ")
    assert "5/5" in result.stderr  # progress
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    names = ("000.png", "001.png", "002.png", "deep/alpha.png")
    assert written == {f"{kind}/{name}" for kind in ("masks", "overlays") for name in names}
    mask = Image.open(tmp_path / "out/masks/000.png")
    assert mask.mode == "P"
    colors = np.array(list(scenes.CLASSES.values()))[np.asarray(mask)]
    np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), colors)
    picture = np.asarray(Image.open(folder / "images/000.png")).astype(float)
    overlay = np.asarray(Image.open(tmp_path / "out/overlays/000.png"))
    np.testing.assert_allclose(overlay, (picture + colors) / 2, atol=1)


def test_one_line_and_an_exif_rotation(server, tmp_path):
    (picture,) = trained.pictures(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(np.rot90(picture)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        segment(str(tmp_path / "turned.png"), server.rest), segment(Image.fromarray(picture), server.rest)
    )


@pytest.mark.parametrize("data", [b"no picture", sixteen_bits(), picture_file("RGB")[:100]])
def test_pictures_that_cannot_be_sent(data):
    with pytest.raises(ServingError, match=r"read as a picture|16-bit"):
        Client().segment(data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"server": "127.0.0.1:8501"}, "must be http://"), ({"version": 1, "label": "a"}, "not both"),
        ({"retries": 9}, "0 to 4"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(arguments, words):
    with pytest.raises(ServingError, match=words):
        Client(**arguments)


@pytest.mark.parametrize(
    ("server", "package", "words"),
    [("http://127.0.0.1:1", "requests", "http:// needs the package requests: pip install"),
     ("grpc://127.0.0.1:1", "grpc", "grpc:// needs the package grpc: pip install")],
)  # fmt: skip
def test_without_its_packages_there_is_one_line(server, package, words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert client.main(["--images=x", "--output=y", f"--server={server}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")


@pytest.mark.parametrize(
    "option",
    ["--concurrency=0", "--concurrency=x", "--timeout=-1", "--timeout=nan", "--opacity=-0.1", "--opacity=1.1"],
)
def test_numbers_that_cannot_work(option, capsys):
    with pytest.raises(SystemExit) as caught:
        client.main(["--images=x", "--output=y", option])
    assert caught.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err.splitlines()[-1]


def test_pictures_whose_results_would_have_one_name_are_refused():
    client.check_result_names(["a.jpg", "b/a.jpg", "c.png"])
    with pytest.raises(client.ServingError, match=r"a.jpg and a.png would both be written as a.png: rename"):
        client.check_result_names(["a.jpg", "a.png"])


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_no_server(server, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(picture_file("RGB"))
    status = client.main(
        [f"--images={tmp_path}/a.png", f"--output={tmp_path}/out", f"--server={server}", "--retries=0"]
    )
    assert status == 2
    assert "error: a.png: " in capsys.readouterr().err


def test_a_refused_request_is_repeated_after_growing_waits():
    class Overloaded(http.server.BaseHTTPRequestHandler):
        times: typing.ClassVar = []

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.times.append(threading.current_thread())
            mask = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
            content = json.dumps({"outputs": {"mask_png_bytes": [{"b64": mask}]}}).encode()
            self.send_response(200 if len(self.times) == 3 else (503, 429)[len(self.times) - 1])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        assert Client(f"http://127.0.0.1:{refusing.server_port}").segment(picture_file("RGB")).size == (1, 1)
        refusing.shutdown()
    assert len(Overloaded.times) == 3

"""Segments pictures with a server, over REST or gRPC; needs neither TensorFlow nor the rest of the project.

python -m serving.client --images=photos --output=results
python -m serving.client --images=street.jpg --output=results --server=grpc://127.0.0.1:8500 --label=canary

Writes masks/NAME.png (class ids, with the classes' colours as palette) and overlays/NAME.png. In a program:

    from serving.client import segment
    mask = segment("street.jpg", server="http://127.0.0.1:8501", model="segmenter")

Installed alone (`pip install ./serving`), the program is `fada_tf_client`, and the module `fada_tf_client.client`.
"""

import argparse
import base64
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageOps

DEFAULT_SERVER = "http://127.0.0.1:8501"
DEFAULT_MODEL = "segmenter"
SIGNATURE, INPUT, OUTPUT = "encoded", "image_bytes", "mask_png_bytes"
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")
_ORIENTATION_TAG = 0x0112  # EXIF: how a viewer turns the picture
_SENT_AS_THEY_ARE = {("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P")}
_FIRST_WAIT = 0.2  # seconds before the first retry, doubled every time
_MAX_RETRIES = 4  # gRPC makes no more


class ServingError(Exception):
    """A picture that was not segmented; the message says why.

    Attributes:
      status: the server's HTTP status or gRPC code as a text; empty if it did not answer.
    """

    def __init__(self, text: str, status: str = ""):
        super().__init__(text)
        self.status = status


class Client:
    """A connection to one model; may be used by several threads.

    Attributes:
      segment_bytes: maps a JPEG or PNG file's bytes to the mask's PNG, both as they go over the wire.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        model: str = DEFAULT_MODEL,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = _MAX_RETRIES,
        concurrency: int = 8,
    ):
        """Opens the connection.

        Args:
          server: "http://HOST:PORT", "https://HOST:PORT" or "grpc://HOST:PORT".
          model: its name on the server.
          version: of the model; None: the newest.
          label: of the version, instead of its number.
          timeout: seconds for a request.
          retries: of a request that an overloaded or missing server did not take, 0 to 4, after growing waits.
          concurrency: requests at a time that the connection is made for.

        Raises:
          ServingError: the arguments cannot work.
        """
        if version is not None and label is not None:
            raise ServingError("give a version or a label, not both")
        if not 0 <= retries <= _MAX_RETRIES:
            raise ServingError(f"retries must be 0 to {_MAX_RETRIES}, not {retries}")
        scheme, _, address = server.rstrip("/").partition("://")
        if scheme in ("http", "https") and address:
            choice = f"/versions/{version}" if version is not None else f"/labels/{label}" if label else ""
            url = f"{scheme}://{address}/v1/models/{model}{choice}:predict"
            self.segment_bytes = _rest(url, timeout, retries, concurrency)
        elif scheme == "grpc" and address:
            self.segment_bytes = _grpc(address, model, version, label, timeout, retries)
        else:
            raise ServingError(f"server {server!r} must be http://HOST:PORT or grpc://HOST:PORT")

    def segment(self, picture: str | bytes | Image.Image) -> Image.Image:
        """Segments a picture.

        Args:
          picture: its path, its file's bytes, or itself.

        Returns:
          An image of mode "P" with the picture's size: pixels are class ids (`numpy.asarray`), the palette has the
          classes' colours (`.convert("RGB")`).

        Raises:
          ServingError: it is no picture, or the server did not segment it.
        """
        return self.segment_upright(read_upright(picture))

    def segment_upright(self, picture: Image.Image) -> Image.Image:
        """Segments a picture of `read_upright`; see `segment`."""
        mask = Image.open(io.BytesIO(self.segment_bytes(encoded(picture))))
        mask.load()
        return mask


def segment(
    picture: str | bytes | Image.Image, server: str = DEFAULT_SERVER, model: str = DEFAULT_MODEL
) -> Image.Image:
    """Segments one picture; see `Client` and `Client.segment`."""
    return Client(server, model).segment(picture)


def read_upright(picture: str | bytes | Image.Image) -> Image.Image:
    """Reads a picture, turned as its EXIF tag says.

    Raises:
      ServingError: it cannot be read, or has 16-bit channels.
    """
    try:
        if not isinstance(picture, Image.Image):
            picture = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
        picture.load()
        if picture.getexif().get(_ORIENTATION_TAG, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ServingError(f"cannot be read as a picture ({error})") from error
    if picture.mode.startswith(("I", "F")):
        raise ServingError("has 16-bit channels: convert it to 8 bits")
    return picture


def encoded(picture: Image.Image) -> bytes:
    """Returns a picture as a file that the server takes: its own if that will do, otherwise an RGB PNG."""
    path = getattr(picture, "filename", "")
    if (picture.format, picture.mode) in _SENT_AS_THEY_ARE and path:
        with open(path, "rb") as file:
            return file.read()
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def find_pictures(path: str) -> tuple[str, list[str]]:
    """Returns the folder and the names in it of the picture, or of all pictures in the folder, that `path` names.

    Raises:
      ServingError: there are none.
    """
    if os.path.isfile(path):
        return os.path.dirname(path), [os.path.basename(path)]
    files = (os.path.relpath(os.path.join(top, name), path) for top, _, names in os.walk(path) for name in names)
    pictures = (name for name in files if name.lower().endswith(SUFFIXES))
    # Hidden ones, such as macOS' ._NAME.jpg, are none of the user's.
    names = [name for name in pictures if not any(part.startswith(".") for part in name.split(os.sep))]
    if not names:
        raise ServingError(f"{path} is no picture and holds none ({', '.join(SUFFIXES)})")
    return path, sorted(names)


def result_name(name: str) -> str:
    """Returns the name of a picture's mask and overlay."""
    return os.path.splitext(name)[0] + ".png"


def check_result_names(names: list[str]) -> None:
    """Checks that no two pictures' results have one name.

    Raises:
      ServingError: two have.
    """
    owners = {}
    for name in names:
        owner = owners.setdefault(result_name(name), name)
        if owner != name:
            raise ServingError(f"{owner} and {name} would both be written as {result_name(name)}: rename one of them")


def segment_files(
    client: Client, folder: str, names: list[str], output: str, concurrency: int, opacity: float
) -> Iterator[tuple[str, str]]:
    """Segments many files at a time and writes their masks and overlays, each whole or not at all.

    Args:
      client: the connection.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets masks/NAME.png and overlays/NAME.png.
      concurrency: requests at a time.
      opacity: of the colours over the picture, 0..1.

    Yields:
      The name of every picture and why it failed, empty if it did not.
    """

    def segment(name: str) -> tuple[str, str]:
        try:
            picture = read_upright(os.path.join(folder, name))
            mask = client.segment_upright(picture)
            overlay = Image.blend(picture.convert("RGB"), mask.convert("RGB"), opacity)
            for subfolder, image in (("masks", mask), ("overlays", overlay)):
                _write_png(os.path.join(output, subfolder, result_name(name)), image)
        except ServingError as error:
            return name, str(error)
        except OSError as error:
            return name, f"cannot be written ({error.strerror})"
        return name, ""

    with ThreadPoolExecutor(concurrency) as pool:
        yield from pool.map(segment, names)


def _write_png(path: str, image: Image.Image) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    image.save(path + ".partial", "PNG")
    os.replace(path + ".partial", path)


def _missing(scheme: str, error: ImportError) -> ServingError:
    return ServingError(f"{scheme} needs the package {error.name}: pip install -e '.[client]', or './serving[grpc]'")


def _rest(url: str, timeout: float, retries: int, concurrency: int) -> Callable[[bytes], bytes]:
    try:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
    except ImportError as error:
        raise _missing("http://", error) from error

    waits = Retry(
        retries, backoff_factor=_FIRST_WAIT, status_forcelist=(429, 503), allowed_methods=None, raise_on_status=False
    )
    session = requests.Session()
    session.mount(url, HTTPAdapter(pool_maxsize=concurrency, max_retries=waits))

    def predict(image: bytes) -> bytes:
        content = {"signature_name": SIGNATURE, "inputs": [{"b64": base64.b64encode(image).decode()}]}
        try:
            response = session.post(url, json=content, timeout=timeout)
            answer = response.json()
        except requests.JSONDecodeError as error:
            raise ServingError(f"{url} answered {response.status_code} without JSON: is it a model server?") from error
        except requests.RequestException as error:
            raise ServingError(f"no answer from {url}: {error}") from error
        if not response.ok:
            status = str(response.status_code)
            raise ServingError(f"{status}: {answer.get('error', answer)}", status)
        return base64.b64decode(answer["outputs"][OUTPUT][0]["b64"])

    return predict


def _grpc(
    address: str, model: str, version: int | None, label: str | None, timeout: float, retries: int
) -> Callable[[bytes], bytes]:
    try:
        import grpc

        from . import protocol  # the package has one name in the checkout, and another where the client is installed
    except ImportError as error:
        raise _missing("grpc://", error) from error

    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{_FIRST_WAIT}s",
        "maxBackoff": "10s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    services = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]} if retries else {}
    sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(address, [*sizes, ("grpc.service_config", json.dumps(services))])
    request_class, response_class = protocol.message("PredictRequest"), protocol.message("PredictResponse")
    call = channel.unary_unary(protocol.PREDICT_METHOD, request_class.SerializeToString, response_class.FromString)

    def predict(image: bytes) -> bytes:
        request = request_class()  # without a filter: another choice of outputs than the warm-up's is slow at first
        request.model_spec.name, request.model_spec.signature_name = model, SIGNATURE
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        value = request.inputs.add(key=INPUT).value
        value.dtype = protocol.DT_STRING
        value.tensor_shape.dim.add(size=1)
        value.string_val.append(image)
        try:
            response = call(request, timeout=timeout)
        except grpc.RpcError as error:
            raise ServingError(f"{error.code().name}: {error.details()}", error.code().name) from error
        return next(entry.value.string_val[0] for entry in response.outputs if entry.key == OUTPUT)

    return predict


def at_least(low: float, number: type = int) -> Callable[[str], float]:
    """Returns the type of an option that is a number from `low` on."""

    def parse(text: str) -> float:
        value = number(text)
        if not value >= low:
            raise argparse.ArgumentTypeError(f"{text} is not at least {low}")
        return value

    parse.__name__ = number.__name__  # which messages about other texts name
    return parse


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status, 2 if a picture failed."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(prog="fada_tf_client", description="Segments pictures with a model server.")
    parser.add_argument("--images", required=True, help="a picture, or a folder of pictures")
    parser.add_argument("--output", required=True, help="folder for masks/ and overlays/")
    parser.add_argument("--server", default=DEFAULT_SERVER, help="http://HOST:PORT or grpc://HOST:PORT (%(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of the model (%(default)s)")
    parser.add_argument("--version", type=int, help="of the model; without it the newest")
    parser.add_argument("--label", help="of the version, instead of its number")
    parser.add_argument("--concurrency", type=at_least(1), default=4, help="requests at a time (%(default)s)")
    parser.add_argument(
        "--timeout", type=at_least(0.001, float), default=30.0, help="seconds for a request (%(default)s)"
    )
    parser.add_argument("--retries", type=int, default=_MAX_RETRIES, help="of a request, 0 to 4 (%(default)s)")
    parser.add_argument(
        "--opacity", type=at_least(0, float), default=0.5, help="of the colours in overlays, 0 to 1 (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.opacity > 1:
        parser.error(f"--opacity is 0 to 1, not {options.opacity}")
    failures = 0
    try:
        client = Client(
            options.server, options.model, version=options.version, label=options.label, timeout=options.timeout,
            retries=options.retries, concurrency=options.concurrency,
        )  # fmt: skip
        folder, names = find_pictures(options.images)
        check_result_names(names)
        results = segment_files(client, folder, names, options.output, options.concurrency, options.opacity)
        for name, error in tqdm(results, total=len(names), desc="segment", unit="picture"):
            if error:
                failures += 1
                tqdm.write(f"error: {name}: {error}", file=sys.stderr)
    except ServingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

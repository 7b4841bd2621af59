"""Downloads, against a server of our own that answers as the hub does."""

from __future__ import annotations

import hashlib
import importlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from core.clip import available, download, find_choice, look_up
from core.errors import StudioError

hub = importlib.import_module("core.clip.hub")
CONTENT = np.random.default_rng(5).bytes(5 * hub.BLOCK + 1234)


class Server(ThreadingHTTPServer):
    """Gives CONTENT as open_clip_model.safetensors of any repository."""

    content, digest = CONTENT, hashlib.sha256(CONTENT).hexdigest()
    ranges: list[str]
    break_after: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        if not self.path.endswith("/resolve/main/open_clip_model.safetensors"):
            self.send_error(404)
            return
        # the hub sends on to another place, and tells size and digest itself
        self.send_response(302)
        self.send_header("Location", "/storage")
        self.send_header("X-Linked-Size", str(len(self.server.content)))
        self.send_header("X-Linked-ETag", f'"{self.server.digest}"')
        self.end_headers()

    def do_GET(self) -> None:
        if self.path != "/storage":
            self.send_response(302)
            self.send_header("Location", "/storage")
            self.end_headers()
            return
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = self.server.content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.ranges = []
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{found.server_address[1]}")
        monkeypatch.setattr(hub, "downloads_folder", lambda: tmp_path / "clip")
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


CHOICE = find_choice("vit-b-32-openai")


def test_size_first_then_the_file(server: Server) -> None:
    remote = look_up(CHOICE)
    assert (remote.size, remote.sha256) == (len(CONTENT), server.digest)
    assert "timm/vit_base_patch32_clip_224.openai" in remote.url and not available(CHOICE)
    told: list[tuple[float, str]] = []
    path = download(CHOICE, lambda share, text: told.append((share, text)))
    assert path is not None and path.read_bytes() == CONTENT
    assert available(CHOICE) and told[-1][0] == 1.0 and "MB" in told[-1][1]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert download(CHOICE) == path and server.ranges == [""]  # nothing is fetched twice


def test_a_cancelled_download_goes_on_where_it_stopped(server: Server) -> None:
    seen: list[float] = []
    assert download(CHOICE, lambda share, _: seen.append(share), lambda: len(seen) >= 2) is None
    assert not available(CHOICE)
    path = download(CHOICE)
    assert path is not None and path.read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={2 * hub.BLOCK}-"]


def test_a_broken_connection_goes_on_too(server: Server) -> None:
    server.break_after = hub.BLOCK + 77
    with pytest.raises(StudioError, match="broke off"):
        download(CHOICE)
    server.break_after = None
    path = download(CHOICE)
    assert path is not None and path.read_bytes() == CONTENT and server.ranges[1].startswith("bytes=")


def test_what_is_not_what_was_promised_is_thrown_away(server: Server) -> None:
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(StudioError, match="arrived damaged"):
        download(CHOICE)
    assert not available(CHOICE)
    server.content = CONTENT
    assert download(CHOICE) is not None


def test_without_a_network_a_sentence_comes_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "downloads_folder", lambda: tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(StudioError, match="can't be reached"):
            download(CHOICE)
    # a network that swallows everything
    monkeypatch.setattr(hub, "TIMEOUT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(StudioError, match="can't be reached"):
            look_up(CHOICE)
        assert time.monotonic() - start < 30


def test_there_is_nothing_to_download_for_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").touch()
    with pytest.raises(StudioError, match="not on the hub"):
        look_up(find_choice(tmp_path / "own.safetensors"))

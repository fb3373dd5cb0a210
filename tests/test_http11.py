"""http11: requests and responses on the wire; what would break their first line is refused."""

import os
import re
import subprocess
import sys

import pytest

from trunkline.datastructures import Headers
from trunkline.http11 import SERVER, USER_AGENT, Request, Response


def test_request():
    request = Request("/chat?room=1", Headers(Host="h"))
    assert request.serialize() == b"GET /chat?room=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def test_response():
    response = Response(404, "Not Found", Headers({"Content-Length": "2"}), b"no")
    assert response.serialize() == b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"


def test_response_in_iso_8859_1():
    assert Response(200, "\xe9", Headers(A="\xe9")).serialize() == b"HTTP/1.1 200 \xe9\r\nA: \xe9\r\n\r\n"


@pytest.mark.parametrize("path", ["/a\r\nX: y", "/a b", "/\0", "/é", ""])
def test_invalid_path(path):
    with pytest.raises(ValueError, match="invalid path"):
        Request(path, Headers()).serialize()


@pytest.mark.parametrize("method", ["GE T", "GET\r\n", ""])
def test_invalid_method(method):
    with pytest.raises(ValueError, match="invalid method"):
        Request("/", Headers(), method).serialize()


@pytest.mark.parametrize("phrase", ["OK\r\nX: y", "\n", "\0", "€"])
def test_invalid_reason_phrase(phrase):
    with pytest.raises(ValueError, match="invalid reason phrase"):
        Response(200, phrase, Headers()).serialize()


def test_product():
    assert re.fullmatch(r"Python/3\.\d+ trunkline/\d+\.\d+\.\d+", USER_AGENT)
    assert SERVER == USER_AGENT


def test_environment():
    program = (
        "from trunkline.http11 import *; from trunkline import http11 as h;"
        "print(SERVER, USER_AGENT, h.MAX_NUM_HEADERS, h.MAX_LINE_LENGTH, h.MAX_BODY_SIZE)"
    )
    settings = {"SERVER": "s", "USER_AGENT": "u", "MAX_NUM_HEADERS": "1", "MAX_LINE_LENGTH": "2", "MAX_BODY_SIZE": "3"}
    environment = {f"WEBSOCKETS_{name}": value for name, value in settings.items()}
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "s u 1 2 3\n"

import pytest

from trunkline.chat.pages import answer, room_name
from trunkline.datastructures import Headers
from trunkline.http11 import Request, Response


def get(path: str, method: str = "GET") -> Response:
    return answer(Request(path, Headers(), method))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", ""),
        ("/?from=mail", ""),
        ("/rooms/tea", "tea"),
        ("/rooms/t%C3%A9", "té"),
        ("/rooms/", None),
        ("/rooms/a/b", None),
        ("/rooms/a%2Fb", None),
        ("/rooms/%0A", None),
        ("/rooms/%FF", None),
        ("/rooms/100%", None),
        ("/rooms/" + 65 * "x", None),
        ("/x/rooms/tea", None),
        ("/elsewhere", None),
    ],
)
def test_room_name(path: str, name: str | None) -> None:
    assert room_name(path) == name


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/rooms/tea", "text/html; charset=utf-8"),
        ("/static/chat.css", "text/css; charset=utf-8"),
        ("/static/chat.js", "text/javascript; charset=utf-8"),
        ("/static/messages.js", "text/javascript; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
        ("/healthz", "text/plain; charset=utf-8"),
    ],
)
def test_what_there_is(path: str, content_type: str) -> None:
    response = get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == content_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].split(";")[0] == "default-src 'self'"
    assert int(response.headers["Content-Length"]) == len(response.body) > 0


@pytest.mark.parametrize("path", ["/nothing", "/static/", "/static/../pages.py", "/static/chat.py", "/favicon.ico"])
def test_what_there_is_not(path: str) -> None:
    assert get(path).status_code == 404


def test_head_is_answered_like_get() -> None:
    """The server leaves the content out."""
    response = get("/", "HEAD")
    assert response.status_code == 200
    assert response.headers["Content-Length"] == get("/").headers["Content-Length"]


def test_other_methods_are_refused() -> None:
    response = get("/", "POST")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_the_page_has_nothing_that_its_policy_forbids() -> None:
    page = bytes(get("/").body).decode()
    assert "<style" not in page
    assert "style=" not in page
    assert "<script>" not in page
    assert "://" not in page

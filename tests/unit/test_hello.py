import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from labctl import hello
from labctl.errors import TimedOutError

PAGE = "<title>t</title><style>h1 {}</style><h1>Hello  World</h1><p>from <b>pod</b></p>"


class _Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Handler]]:
    handler = type("Handler", (_Handler,), {})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        monkeypatch.setattr(hello, "NODE_PORT", http.server_address[1])
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield handler
        http.shutdown()
        thread.join()


def test_the_text_of_the_page(server: type[_Handler]) -> None:
    assert hello.text_of(hello.fetch("two", "127.0.0.1")) == "Hello World\nfrom\npod"


def test_a_page_that_is_an_error_is_no_page(server: type[_Handler]) -> None:
    server.status = 503
    with pytest.raises(TimedOutError, match="HTTP 503"):
        hello.fetch("two", "127.0.0.1", timeout_s=0)


def test_the_note_is_kubectls_to_the_letter() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {"b": "<ü>", "a": [1]}, "metadata": {"name": "p"}}
    note = hello.as_kubectl(pod)["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert note == (
        r'{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"p","namespace":"default"},'
        r'"spec":{"a":[1],"b":"\u003cü\u003e"}}' + "\n"
    )
    assert "annotations" not in pod["metadata"]

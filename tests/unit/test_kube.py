"""`labctl.kube` against a small API server on loopback: real sockets, scripted answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from labctl.errors import LabError, StateError, TimedOutError
from labctl.kube import ApiError, ApiUnavailableError, Gap, Kube, Node, Pod, WatchEvent
from labctl.paths import LabPaths


def node(name: str, status: str = "True", version: int = 1, message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": message}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
        "status": {
            "conditions": [condition],
            "nodeInfo": {"kubeletVersion": "v1.37.2"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
        },
    }


def listing(*items: dict[str, Any], version: int = 10) -> dict[str, Any]:
    return {"items": list(items), "metadata": {"resourceVersion": str(version)}}


@dataclass
class FakeApi:
    """Answers by (method, path); a watch of a path plays its scripts, one a connection, then stays open."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    watches: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer()

            do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def answer(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.seen.append((self.command, parts.path, query, body))
                if "watch" in query:
                    self.play(api.watches.setdefault(parts.path, []))
                    return
                found = api.answers.get((self.command, parts.path), (404, {"message": "not found"}))
                found = found(body) if callable(found) else found
                status, answer = found if isinstance(found, tuple) else (200, found)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def play(self, scripts: list[list[dict[str, Any]]]) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                script = scripts.pop(0) if scripts else []
                for line in script:
                    if line.get("type") == "CUT":
                        self.close_connection = True
                        return
                    data = json.dumps(line).encode() + b"\n"
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                    self.wfile.flush()
                api.closing.wait(20)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    fake = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), fake.handler())
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield fake
    fake.closing.set()
    server.shutdown()
    server.server_close()


def lab_at(url: str) -> LabPaths:
    """A lab whose API server is at `url`; LABCTL_HOME is the test's own."""
    lab = LabPaths("two")
    lab.folder.mkdir(parents=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "lab", "user": {"token": "t0ken"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    }
    lab.kubeconfig.write_text(yaml.safe_dump(content))
    return lab


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.setattr("labctl.kube.cluster._RETRY_S", 0.02)
    monkeypatch.setattr("labctl.kube.watch._RETRY_S", 0.02)


@pytest.fixture
def kube(api: FakeApi) -> Kube:
    return Kube(lab_at(api.url))


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def test_importing_labctl_kube_does_not_import_the_slow_library() -> None:
    code = "import labctl.kube, sys; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_node_tells_unknown_from_not_ready(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("b", "Unknown"), node("a", "False"), node("c"))
    a, b, c = kube.nodes()
    assert [a.ready, b.ready, c.ready] == [False, None, True]
    assert (a.version, a.internal_ip) == ("v1.37.2", "10.0.0.9")
    assert a.has_taint("node.kubernetes.io/unreachable", "NoExecute")
    assert not c.accepts_pods, "a NoExecute taint keeps pods away"


def test_a_silent_api_is_a_clear_error() -> None:
    with pytest.raises(ApiUnavailableError, match=r"http://127\.0\.0\.1:9 does not answer"):
        Kube(lab_at("http://127.0.0.1:9")).nodes()


def test_a_missing_kubeconfig_is_a_clear_error() -> None:
    with pytest.raises(StateError, match="no usable kubeconfig"):
        Kube(LabPaths("absent"))


def test_a_refusal_carries_the_servers_words(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/pods"] = (403, {"message": "pods is forbidden"})
    with pytest.raises(ApiError, match="403: pods is forbidden"):
        kube.pods()


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0),
        (
            [
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 10,
                }
            ],
            10,
        ),
        ([{"operator": "Exists"}], None),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}], 0),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Equal", "value": "x"}], 0),
        ([{"operator": "Exists", "tolerationSeconds": -3, "effect": "NoExecute"}], 0),
    ],
)
def test_a_pods_own_toleration_is_read_as_the_controller_reads_it(
    tolerations: list[Any], seconds: float | None
) -> None:
    pod = Pod.parse({"metadata": {"name": "p"}, "spec": {"tolerations": tolerations}})
    assert pod.unreachable_s == seconds


def test_a_pod_says_what_it_waits_for() -> None:
    raw = {
        "metadata": {"name": "p", "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "controller": True}]},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "ErrImageNeverPull"}}}],
        },
    }
    pod = Pod.parse(raw)
    assert (pod.owner_kind, pod.restarts) == ("ReplicaSet", 2)
    assert pod.why_not_ready() == "Pending, Ready=False ContainersNotReady, ErrImageNeverPull"


def test_wait_nodes_ready_ends_with_the_event(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a"))
    api.watches["/api/v1/nodes"] = [
        [{"type": "ADDED", "object": node("b", "False")}, {"type": "MODIFIED", "object": node("b")}]
    ]
    kube.wait_nodes_ready(["a", "b"], timeout_s=5)


def test_wait_nodes_ready_survives_a_lost_connection(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a", "False"))
    api.watches["/api/v1/nodes"] = [[{"type": "CUT"}], [{"type": "MODIFIED", "object": node("a")}]]
    kube.wait_nodes_ready(["a"], timeout_s=5)


def test_wait_nodes_ready_says_what_it_saw_last(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a", "False", message="cni plugin not initialized"))
    api.watches["/api/v1/nodes"] = [[{"type": "CUT"}] for _ in range(50)]
    with pytest.raises(TimedOutError, match=r"nodes a, b to be Ready; last seen: a .*cni plugin.*; b not registered"):
        kube.wait_nodes_ready(["a", "b"], timeout_s=0.2)


def test_slow_machines_are_waited_for_longer(api: FakeApi) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a", "False"))
    api.watches["/api/v1/nodes"] = [[{"type": "CUT"}] for _ in range(50)]
    with pytest.raises(TimedOutError, match="waited 1 s for nodes a"):
        Kube(lab_at(api.url), patience=6).wait_nodes_ready(["a"], timeout_s=0.2)


def deployment(available: int, observed: int = 2) -> dict[str, Any]:
    status = {"observedGeneration": observed, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available}
    return {
        "metadata": {"name": "hello", "generation": 2, "resourceVersion": "5"},
        "spec": {"replicas": 2},
        "status": status,
    }


@pytest.mark.parametrize("before", [deployment(1), deployment(2, observed=1)])
def test_wait_deployment_wants_all_replicas_of_the_newest_generation(
    api: FakeApi, kube: Kube, before: dict[str, Any]
) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    api.answers["GET", path] = listing(before)
    api.watches[path] = [[{"type": "CUT"}] for _ in range(50)]
    with pytest.raises(TimedOutError, match=r"deployment default/hello"):
        kube.wait_deployment("default", "hello", timeout_s=0.1)
    api.answers["GET", path] = listing(deployment(2))
    kube.wait_deployment("default", "hello", timeout_s=5)


def test_wait_pod_gone_is_content_with_none(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/namespaces/default/pods"] = listing()
    kube.wait_pod_gone("default", "hello-world", timeout_s=1)


RESOURCES = {
    "resources": [
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "pods/status", "kind": "Pod", "namespaced": True},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
    ]
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello-world"}}


def test_apply_reports_only_what_changed(api: FakeApi, kube: Kube) -> None:
    path = "/api/v1/namespaces/default/pods/hello-world"
    api.answers["GET", "/api/v1"] = RESOURCES
    api.answers["PATCH", path] = {"metadata": {"resourceVersion": "7"}}
    assert kube.apply([POD]) == ["Pod hello-world"]
    api.answers["GET", path] = {"metadata": {"resourceVersion": "7"}}
    assert kube.apply([POD]) == []
    patch = next(call for call in api.seen if call[0] == "PATCH")
    assert patch[2] == {"fieldManager": ["labctl"], "force": ["true"]}
    assert patch[3] == POD


def pod_event(kind: str, version: int, *, ready: bool = False, leaving: bool = False) -> dict[str, Any]:
    meta = {"name": "hello-world", "namespace": "default", "uid": "u", "resourceVersion": str(version)}
    if leaving:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"conditions": [{"type": "Ready", "status": str(ready)}], "phase": "Running"}
    return {"type": kind, "object": {"metadata": meta, "spec": {}, "status": status}}


def test_a_pod_that_was_evicted_while_up_went_on_is_made_again(api: FakeApi, kube: Kube) -> None:
    pods = "/api/v1/namespaces/default/pods"
    made: list[dict[str, Any]] = []

    def patch(body: dict[str, Any]) -> dict[str, Any]:
        made.append(body)
        return {"metadata": {"resourceVersion": "13"}}

    api.answers |= {("GET", "/api/v1"): RESOURCES, ("PATCH", f"{pods}/hello-world"): patch}
    leaving = pod_event("MODIFIED", 11, ready=True, leaving=True)
    api.answers["GET", pods] = listing(leaving["object"])
    api.watches[pods] = [[leaving, pod_event("DELETED", 12), pod_event("ADDED", 13), {"type": "CUT"}]]
    api.watches[pods] += [[pod_event("MODIFIED", 14, ready=True)]]
    assert kube.keep_pod(POD, timeout_s=5)
    assert made == [POD]


def test_a_pod_that_its_kubelet_ended_gives_way_to_a_new_one(api: FakeApi, kube: Kube) -> None:
    pods = "/api/v1/namespaces/default/pods"
    ended = pod_event("LISTED", 11)
    ended["object"]["status"]["phase"] = "Succeeded"
    api.answers |= {("GET", "/api/v1"): RESOURCES, ("GET", pods): listing(ended["object"])}
    for method in ("DELETE", "PATCH"):
        api.answers[method, f"{pods}/hello-world"] = {"metadata": {"resourceVersion": "13"}}
    api.watches[pods] = [[pod_event("DELETED", 12), pod_event("ADDED", 13), pod_event("MODIFIED", 14, ready=True)]]
    assert kube.keep_pod(POD, timeout_s=5)
    asked = [call[0] for call in api.seen if call[1].endswith("/hello-world")]
    assert [method for method in asked if method != "GET"] == ["DELETE", "PATCH"]


def test_a_pod_that_is_there_and_ready_is_left_alone(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/namespaces/default/pods"] = listing(pod_event("LISTED", 9, ready=True)["object"])
    assert not kube.keep_pod(POD, timeout_s=5)
    assert {call[0] for call in api.seen} == {"GET"}


def test_apply_of_an_unknown_kind_is_a_clear_error(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1"] = {"resources": []}
    with pytest.raises(LabError, match="does not know the kind Pod of v1"):
        kube.apply([POD])


def test_delete_passes_over_what_is_not_there(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1"] = RESOURCES
    kube.delete([POD])
    api.answers["DELETE", "/api/v1/namespaces/default/pods/hello-world"] = (403, {"message": "no"})
    with pytest.raises(ApiError):
        kube.delete([POD])


def test_delete_namespace_waits_and_says_what_is_left(api: FakeApi, kube: Kube) -> None:
    kube.delete_namespace("labctl-drill", timeout_s=1)  # there is none
    path = "/api/v1/namespaces"
    left = {"metadata": {"name": "labctl-drill", "resourceVersion": "3"}, "status": {"phase": "Terminating"}}
    api.answers["DELETE", f"{path}/labctl-drill"] = {}
    api.answers["GET", path] = listing(left)
    api.watches[path] = [[{"type": "DELETED", "object": left}]]
    kube.delete_namespace("labctl-drill", timeout_s=5)
    api.watches[path] = [[{"type": "CUT"}] for _ in range(50)]
    with pytest.raises(TimedOutError, match="still there, Terminating"):
        kube.delete_namespace("labctl-drill", timeout_s=0.1)


@dataclass
class Seen:
    events: list[WatchEvent] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def test_a_watch_stamps_events_and_ends_at_once(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a"))
    api.watches["/api/v1/nodes"] = [
        [
            {"type": "BOOKMARK", "object": node("x", version=11)},
            {"type": "MODIFIED", "object": node("a", "Unknown", 12)},
        ]
    ]
    seen = Seen()
    before = time.monotonic()
    watch = kube.watch("nodes", seen.events.append, seen.gaps.append)
    eventually(lambda: len(seen.events) == 2)
    assert [event.type for event in seen.events] == ["LISTED", "MODIFIED"]
    last = seen.events[-1]
    assert isinstance(last.object, Node)
    assert last.object.ready is None
    assert before < last.received < time.monotonic()
    start = time.monotonic()
    watch.stop()
    assert time.monotonic() - start < 1
    assert not seen.gaps


def test_a_lost_watch_is_a_gap_and_goes_on_where_it_was(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing(node("a"))
    api.watches["/api/v1/nodes"] = [
        [{"type": "MODIFIED", "object": node("a", "False", 21)}, {"type": "CUT"}],
        [{"type": "MODIFIED", "object": node("a", "True", 22)}],
    ]
    seen = Seen()
    watch = kube.watch("nodes", seen.events.append, seen.gaps.append)
    eventually(lambda: len(seen.events) == 3)
    watch.stop()
    assert len(seen.gaps) == 1
    assert seen.gaps[0].start <= seen.gaps[0].end
    versions = [call[2]["resourceVersion"] for call in api.seen if "watch" in call[2]]
    assert versions == [["10"], ["21"]]


def test_a_watch_that_is_too_old_lists_again_and_says_so(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/pods"] = listing()
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    api.watches["/api/v1/pods"] = [[gone]]
    seen = Seen()
    watch = kube.watch("pods", seen.events.append, seen.gaps.append)
    eventually(lambda: bool(seen.gaps))
    watch.stop()
    assert "too old" in seen.gaps[0].reason
    assert sum(call[1] == "/api/v1/pods" and "watch" not in call[2] for call in api.seen) == 2


def test_an_observer_that_crashes_is_a_gap(api: FakeApi, kube: Kube) -> None:
    api.answers["GET", "/api/v1/nodes"] = listing()
    api.watches["/api/v1/nodes"] = [[{"type": "ADDED", "object": node("a")}]]
    gaps: list[Gap] = []

    def crash(_: WatchEvent) -> None:
        raise KeyError("a bug")

    watch = kube.watch("nodes", crash, gaps.append)
    eventually(lambda: bool(gaps))
    watch.stop()
    assert "a bug" in gaps[0].reason


def test_a_watch_that_cannot_begin_says_so() -> None:
    kube = Kube(lab_at("http://127.0.0.1:9"))
    watch_s = time.monotonic()
    with pytest.raises(LabError, match="could not begin to watch nodes"):
        kube.watch("nodes", print, print, begin_s=0.3)
    assert time.monotonic() - watch_s < 3

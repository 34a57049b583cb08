"""A program that runs on a node: asks what it is told to ask, all at once, and says how the node looks from inside.

It is sent as text to the node's Python, hence needs nothing but Python's own library. The first argument is a JSON
object: name of a question -> {"url": ...}, {"dns": server, "name": ..., "tcp": ...} or {"echo": address, "around":
bytes}, with "patience_s" if it is another one than usual; answers are printed, by name. With "only", of an answer that
is a list of Secrets these keys alone are told.
A bearer's token comes by standard input, for arguments are everybody's to see.
"""

from __future__ import annotations

import base64
import errno
import functools
import hashlib
import http.client
import ipaddress
import json
import os
import pathlib
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE_S = 4
A, AAAA = 1, 28
"""Types of DNS records (RFC 1035, 3596)."""
ECHO_WITHIN_S = 1.0
SMALL = 84
"""Bytes of what ping sends by default."""
CONFLIST = pathlib.Path("/etc/cni/net.d/10-labctl.conflist")
ADMIN = pathlib.Path("/etc/kubernetes/admin.conf")
SERVICE_MAPS = ("service-ips", "no-endpoint-services")
ETCD = "/etc/kubernetes/pki/etcd/"


def fetch(question: dict[str, Any]) -> dict[str, Any]:
    """The status and the body of an HTTP answer."""
    url = urllib.parse.urlsplit(question["url"])
    assert url.hostname is not None
    patience_s = question.get("patience_s", PATIENCE_S)
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(
            url.hostname, url.port, timeout=patience_s, context=_tls(question.get("as", ""))
        )
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=patience_s)
    path = url.path + (f"?{url.query}" if url.query else "")
    try:
        connection.request(question.get("method", "GET"), path, question.get("body"), headers=_headers(question))
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        return {"status": answer.status, "body": _only(body, question["only"]) if "only" in question else body}
    finally:
        connection.close()


def _only(body: str, keys: list[str]) -> str:
    """These keys of each Secret in a list: the others are nobody's business."""
    found = [item.get("data") or {} for item in json.loads(body).get("items", [])]
    return json.dumps([{key: base64.b64decode(data[key]).decode() for key in keys if key in data} for data in found])


def _headers(question: dict[str, Any]) -> dict[str, str]:
    token = {"Authorization": "Bearer " + question["bearer"]} if "bearer" in question else {}
    return {**question.get("headers", {}), **token}


@functools.cache
def _tls(identity: str) -> ssl.SSLContext:
    """As `admin` or `etcd`, by what kubeadm leaves on a control plane; else as nobody in particular."""
    if identity == "admin":
        text = ADMIN.read_text(encoding="utf-8")
        context = ssl.create_default_context(cadata=_embedded(text, "certificate-authority").decode())
        pair = _embedded(text, "client-certificate") + b"\n" + _embedded(text, "client-key")
        # Python reads keys from files alone: one in memory, which nobody else sees.
        with os.fdopen(os.memfd_create("client"), "wb") as file:
            file.write(pair)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    elif identity == "etcd":
        context = ssl.create_default_context(cafile=ETCD + "ca.crt")
        context.load_cert_chain(ETCD + "healthcheck-client.crt", ETCD + "healthcheck-client.key")
    else:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _embedded(kubeconfig: str, name: str) -> bytes:
    """What a kubeconfig has under `name`-data, or in the file that it names."""
    data = re.search(rf"{name}-data: *(\S+)", kubeconfig)
    file = re.search(rf"{name}: *(\S+)", kubeconfig)
    return base64.b64decode(data[1]) if data else pathlib.Path(file[1]).read_bytes() if file else b""


def look_up(question: dict[str, Any]) -> dict[str, Any]:
    """The addresses of a name, of the server's own family, asked of it by UDP or by TCP; 200 is success, as in HTTP."""
    address = question["dns"] or own_name_server()
    is_6 = ":" in address
    labels = b"".join(bytes([len(label)]) + label.encode() for label in question["name"].split("."))
    packet = b"\x13\x37\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00" + bytes([AAAA if is_6 else A]) + b"\x00\x01"
    kind = socket.SOCK_STREAM if question.get("tcp") else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, kind) as server:
        server.settimeout(question.get("patience_s", PATIENCE_S))
        server.connect((address, 53))
        if question.get("tcp"):
            server.sendall(len(packet).to_bytes(2, "big") + packet)
            answer = server.recv(4096)[2:]
        else:
            server.send(packet)
            answer = server.recv(4096)
    code, count = answer[3] & 15, int.from_bytes(answer[6:8], "big")
    return {"status": code or 200, "body": " ".join(_addresses(answer, len(packet), count))}


def own_name_server() -> str:
    """The first name server that this machine asks."""
    found = re.search(r"^nameserver +(\S+)", pathlib.Path("/etc/resolv.conf").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError("/etc/resolv.conf names no server")
    return found[1]


def _addresses(answer: bytes, at: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        while answer[at] and answer[at] < 0xC0:
            at += answer[at] + 1
        at += 2 if answer[at] else 1
        kind, size = int.from_bytes(answer[at : at + 2], "big"), int.from_bytes(answer[at + 8 : at + 10], "big")
        if kind in (A, AAAA):
            found.append(str(ipaddress.ip_address(answer[at + 10 : at + 10 + size])))
        at += 10 + size
        if at > len(answer):
            raise ValueError("the answer is cut off")
    return sorted(found)


def echo(question: dict[str, Any]) -> dict[str, Any]:
    """Whether packets as large as those of pods, with what is `around` them on the way, reach a machine in one piece.

    200 if they do, 413 (HTTP's for what is too large) if only small ones do. Raises `OSError` if none do.
    """
    plugins = json.loads(CONFLIST.read_text(encoding="utf-8")).get("plugins", [])
    size = max((plugin.get("mtu", 0) for plugin in plugins), default=0) + question["around"]
    if size < SMALL:
        raise ValueError(f"{CONFLIST} does not say how large pods' packets are")
    if not _comes_back(question["echo"], SMALL):
        raise TimeoutError("no echo, of small packets neither")
    return {"status": 200 if _comes_back(question["echo"], size) else 413, "body": str(size)}


def _comes_back(address: str, size: int) -> bool:
    """Whether an ICMP echo request of `size` bytes, with the IP header, that nobody may cut, is answered (RFC 792)."""
    is_6 = ":" in address
    request, reply, header = (128, 129, 40) if is_6 else (8, 0, 20)
    mark = secrets.token_bytes(4)
    words = (request * 256, int.from_bytes(mark[:2], "big"), int.from_bytes(mark[2:], "big"))
    checksum = 0xFFFF - (sum(words) % 0xFFFF)  # RFC 1071; of IPv6's packets the kernel writes its own
    packet = bytes([request, 0]) + checksum.to_bytes(2, "big") + mark
    kind = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if is_6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    with socket.socket(kind[0], socket.SOCK_RAW, kind[1]) as link:
        # linux/in.h, in6.h: IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, with IP_PMTUDISC_PROBE.
        link.setsockopt(*((socket.IPPROTO_IPV6, 23) if is_6 else (socket.IPPROTO_IP, 10)), 3)
        for _ in range(2):
            try:
                link.sendto(packet.ljust(size - header, b"\0"), (address, 0))
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                return False
            if _hears(link, bytes([reply]), mark, 0 if is_6 else header):
                return True
    return False


def _hears(link: socket.socket, reply: bytes, mark: bytes, at: int) -> bool:
    deadline = time.monotonic() + ECHO_WITHIN_S
    while (left := deadline - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            heard = link.recv(65535)
        except TimeoutError:
            return False
        if heard[at : at + 1] == reply and heard[at + 4 : at + 8] == mark:
            return True
    return False


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """The answer; status 0 and the reason if there was none."""
    try:
        if "echo" in question:
            return echo(question)
        return look_up(question) if "dns" in question else fetch(question)
    except IndexError:
        return {"status": 0, "body": "no whole answer came"}
    except PermissionError:
        return {"status": 0, "body": "refused by this node's own rules: no pod serves it"}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"status": 0, "body": f"{type(error).__name__}: {error}"}


def look() -> dict[str, Any]:
    """How the node looks: when it started, its clock and name, kubeconfigs and kube-proxy's table."""
    booted = _run("systemctl", "show", "--property=UserspaceTimestamp", "--timestamp=unix")
    return {
        "booted": int(booted.partition("@")[2] or 0),
        "now": time.time(),
        "hostname": socket.gethostname(),
        "kubeconfigs": {
            str(path): _kubeconfig(path) for path in sorted(pathlib.Path("/etc/kubernetes").glob("*.conf"))
        },
        "services": sorted(
            set().union(*(_services(family, name) for family in ("ip", "ip6") for name in SERVICE_MAPS))
        ),
    }


def _kubeconfig(path: pathlib.Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    server = re.search(r"server: *(\S+)", text)
    return {"server": server[1] if server else "", "ca": fingerprint(_embedded(text, "certificate-authority"))}


def fingerprint(authority: bytes) -> str:
    """The first digits of a certificate's SHA-256, enough to tell one from another."""
    return hashlib.sha256(authority.strip()).hexdigest()[:16]


def _services(family: str, name: str) -> set[str]:
    """Address, protocol and port of each Service in a map of kube-proxy's."""
    listed = json.loads(_run("nft", "--json", "list", "map", family, "kube-proxy", name) or '{"nftables": []}')
    elements = [element for entry in listed["nftables"] for element in entry.get("map", {}).get("elem", [])]
    # With a comment, a key is wrapped.
    keys = [key.get("elem", {}).get("val", key) for key, _ in elements]
    return {" ".join(str(part) for part in key["concat"]) for key in keys}


def _run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def main() -> None:
    """Answer."""
    questions = json.loads(sys.argv[1])
    bearers = [question for question in questions.values() if "bearer" in question]
    token = sys.stdin.read().strip() if bearers else ""
    for question in bearers:
        question["bearer"] = token
    with ThreadPoolExecutor(max_workers=16) as pool:
        looked = pool.submit(look)
        answers = dict(zip(questions, pool.map(ask, questions.values()), strict=True))
        print(json.dumps({"answers": answers, **looked.result()}))


if __name__ == "__main__":
    main()

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import paths
from labctl.bundle.fetch import Fetcher, Patience, Remote
from labctl.errors import LabError, TimedOutError
from labctl.events import Event, Progress, Warned
from tests.web import Web, make_authority, proxy, server_context

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "/release/kubelet"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web({PATH: CONTENT})
    yield server
    server.close()


@pytest.fixture
def fetcher(events: list[Event]) -> Fetcher:
    return Fetcher(events.append, Patience(connect_s=2, silent_s=0.2, tries=3, backoff_s=0.01))


def remote(web: Web, sha256: str = SHA256) -> Remote:
    return Remote(web.url + PATH, sha256, "kubelet", len(CONTENT))


def test_a_file_arrives_once(web: Web, fetcher: Fetcher) -> None:
    file = fetcher.file(remote(web))
    assert file == paths.downloads() / SHA256
    assert file.read_bytes() == CONTENT
    assert fetcher.file(remote(web)) == file
    assert len(web.seen) == 1


def test_a_killed_download_goes_on_where_it_was(web: Web, fetcher: Fetcher, events: list[Event]) -> None:
    paths.downloads().mkdir(parents=True)
    (paths.downloads() / f"{SHA256}.part").write_bytes(CONTENT[:5000])
    assert fetcher.file(remote(web)).read_bytes() == CONTENT
    assert web.seen == [(PATH, "bytes=5000-")]
    assert any(isinstance(event, Progress) and "goes on" in event.text for event in events)


def test_what_was_complete_but_not_renamed_is_not_fetched_again(web: Web, fetcher: Fetcher) -> None:
    paths.downloads().mkdir(parents=True)
    (paths.downloads() / f"{SHA256}.part").write_bytes(CONTENT)
    assert fetcher.file(remote(web)).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_a_transfer_that_breaks_off_goes_on(web: Web, fetcher: Fetcher, fault: str) -> None:
    web.faults[PATH] = [fault, fault]
    assert fetcher.file(remote(web)).read_bytes() == CONTENT
    assert [asked for _, asked in web.seen] == ["", "bytes=512000-", "bytes=768000-"]


def test_a_server_without_ranges_starts_over(web: Web, fetcher: Fetcher) -> None:
    web.faults[PATH] = ["truncate", "no-range"]
    assert fetcher.file(remote(web)).read_bytes() == CONTENT


def test_silence_ends_in_what_was_asked_for_and_how_long(web: Web, fetcher: Fetcher) -> None:
    web.files[PATH] = CONTENT[:1]
    web.faults[PATH] = ["stall"] * 3
    with pytest.raises(TimedOutError, match=r"kubelet: nothing came for 0 s, 3 times") as caught:
        fetcher.file(remote(web))
    assert "goes on where it was" in caught.value.hint


def test_a_damaged_part_is_named_and_fetched_from_the_start(web: Web, fetcher: Fetcher, events: list[Event]) -> None:
    paths.downloads().mkdir(parents=True)
    (paths.downloads() / f"{SHA256}.part").write_bytes(b"x" * 5000)
    assert fetcher.file(remote(web)).read_bytes() == CONTENT
    assert [asked for _, asked in web.seen] == ["bytes=5000-", ""]
    assert any(isinstance(event, Warned) and "kubelet" in event.text for event in events)


def test_a_damaged_file_is_named_and_fetched_again(web: Web, fetcher: Fetcher, events: list[Event]) -> None:
    fetcher.file(remote(web)).write_bytes(b"x")
    assert fetcher.file(remote(web)).read_bytes() == CONTENT
    assert any(isinstance(event, Warned) and "kubelet was damaged" in event.text for event in events)


def test_a_wrong_file_is_fetched_twice_and_refused(web: Web, fetcher: Fetcher) -> None:
    web.faults[PATH] = ["wrong"] * 2
    with pytest.raises(LabError, match=rf"has the SHA-256 [0-9a-f]{{64}}, not {SHA256}, twice"):
        fetcher.file(remote(web))
    assert list(paths.downloads().iterdir()) == []
    assert len(web.seen) == 2


def test_what_is_not_there_is_said_with_its_address(web: Web, fetcher: Fetcher) -> None:
    with pytest.raises(LabError, match=rf"{web.url}/none: HTTP 404 Not Found"):
        fetcher.file(Remote(f"{web.url}/none", SHA256, "none"))
    with pytest.raises(LabError, match="HTTP 404"):
        fetcher.text(f"{web.url}/none")


def test_a_busy_server_is_asked_again(web: Web, fetcher: Fetcher) -> None:
    web.faults[PATH] = [503, 429]
    assert fetcher.file(remote(web)).read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_named(web: Web, fetcher: Fetcher) -> None:
    web.faults[PATH] = [503] * 9
    with pytest.raises(LabError, match="HTTP 503"):
        fetcher.file(remote(web))


def test_redirects_are_followed_and_a_login_stays_behind(web: Web, fetcher: Fetcher) -> None:
    other = Web({"/cdn": CONTENT})
    try:
        web.faults[PATH] = [f"to {other.url.replace('127.0.0.1', 'localhost')}/cdn"]
        assert fetcher.file(remote(web), {"Authorization": "Bearer secret"}).read_bytes() == CONTENT
        assert web.headers[0]["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.headers[0]
    finally:
        other.close()


def test_redirects_end(web: Web, fetcher: Fetcher) -> None:
    web.faults[PATH] = [f"to {PATH}"] * 99
    with pytest.raises(LabError, match="redirect"):
        fetcher.file(remote(web))


def test_nobody_there(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(LabError, match=rf"{url}: .*refused"):
        fetcher.text(url)


def test_a_name_that_nobody_knows(fetcher: Fetcher) -> None:
    with pytest.raises(LabError, match=r"http://nobody\.invalid/x: "):
        fetcher.text("http://nobody.invalid/x")


def test_the_proxy_of_the_environment_is_used(web: Web, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, asked):
        monkeypatch.setenv("http_proxy", address)
        assert fetcher.file(remote(web)).read_bytes() == CONTENT
        assert asked == [f"GET {web.url}{PATH}"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetcher.text(web.url + PATH)
        assert len(asked) == 1


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server with a certificate authority of its own, which SSL_CERT_FILE names."""
    ca, key = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    server = Web({PATH: CONTENT}, server_context(ca, key))
    yield server
    server.close()


def test_an_authority_of_ones_own(secure: Web, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetcher.file(remote(secure)).read_bytes() == CONTENT
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    with pytest.raises(LabError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        Fetcher(lambda event: None).text(secure.url + PATH)
    assert "SSL_CERT_FILE=" in caught.value.hint
    assert len(secure.attempts) == 2, "a certificate does not get better by asking again"


def test_https_goes_through_the_proxy_without_being_read(
    secure: Web, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as (address, asked):
        monkeypatch.setenv("https_proxy", address)
        assert fetcher.file(remote(secure)).read_bytes() == CONTENT
    assert asked == [f"CONNECT {secure.url.removeprefix('https://')}"]


def test_a_redirect_away_from_https_is_refused(secure: Web, web: Web, fetcher: Fetcher) -> None:
    secure.faults[PATH] = [f"to {web.url}{PATH}"]
    with pytest.raises(LabError, match="leads away from https"):
        fetcher.file(remote(secure))


def test_two_parts_of_one_name_never_meet(web: Web, events: list[Event]) -> None:
    """Not a promise of `Fetcher` alone: callers hold the lock. Two threads with two files share its pools."""
    other = CONTENT[::-1]
    web.files["/other"] = other
    fetcher = Fetcher(events.append)
    found: list[bytes] = []
    jobs = [remote(web), Remote(f"{web.url}/other", hashlib.sha256(other).hexdigest(), "other")]
    threads = [threading.Thread(target=lambda job=job: found.append(fetcher.file(job).read_bytes())) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == sorted([CONTENT, other])

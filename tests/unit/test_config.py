from ipaddress import IPv4Network
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from labctl import config
from labctl.errors import UsageError


def test_everything_has_a_default() -> None:
    lab = config.load(None, {})
    assert (lab.name, lab.control_planes, lab.workers, lab.timing, lab.cni) == ("lab", 1, 2, "default", "routed")


def test_labctl_yml_of_the_current_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labctl.yml").write_text("workers: 3\ntiming: fast\n")
    monkeypatch.chdir(tmp_path)
    lab = config.load(None, {"workers": 5, "timing": None})
    assert (lab.workers, lab.timing) == (5, "fast"), "a flag overrides the file, a flag that was not given does not"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("worker: 2", "worker: no such key"),
        ("workers: many", "workers: "),
        ("workers: -1", "workers: "),
        ("name: Lab_1", "name: "),
        ("control_planes: 2", "odd number"),
        ("timing: slow", "timing: "),
        ("{slow_machine: true, timing: drill}", "timing: with slow_machine"),
        ("kubernetes: 1.37", 'such as "1.37.2" (given: 1.37)'),
        ("networks: {pods: 10.96.0.0/16}", "overlap"),
        ("networks: {pods: 10.244.0.0/23}", "no /24 for each of 3 nodes"),
        ("networks: {machines: 10.203.0.0/16}", "must be a /24"),
        ("cni_manifest: calico.yml", "needs cni: none"),
        ("{cni: vxlan, cni_manifest: calico.yml}", "needs cni: none"),
        ("networks: {family: both}", "networks.family: "),
        (
            "{networks: {family: ipv6}, nodes: {cp-1: {ports: [{host: 8080, machine: 30080}]}}}",
            "with networks.family: ipv6 nothing answers",
        ),
        ("networks: {pods6: 'fd00:10:244::/63'}", "no /64 for each of 3 nodes"),
        ("networks: {services6: 'fd00:10:96::/107'}", "services6 must be a /108 or smaller"),
        ("networks: {services6: 'fd00:10:244:1::/112'}", "overlap"),
        (
            "{provider: hosts, hosts: {a: {role: control-plane, address: 192.0.2.1}}, networks: {family: dual}}",
            "hosts.a: has no node_second_address: that goes with networks.family: dual",
        ),
        ("{cni: none, networks: {mtu: 1400}}", "networks.mtu: with cni: none the network is not labctl's"),
        ("networks: {mtu: 1279}", "networks.mtu: "),
        ("{cni: vxlan, networks: {family: ipv6, mtu: 1349}}", "with IPv6 and cni: vxlan, 1350 at least, not 1349"),
        ("bundle: {source: file}", "source: file and file: FILE need each other"),
        ("bundle: {file: x.tar.zst}", "source: file and file: FILE need each other"),
        ("bundle: {mirrors: {https://example.org: http://x}}", "bundle.mirrors.https://example.org"),
        ("bundle: {mirrors: {https://dl.k8s.io: mirror}}", "bundle.mirrors.https://dl.k8s.io"),
        ("bundle: {versions: {kubelet: 1.37.2}}", "bundle.versions.kubelet"),
        ("[a, list]", "must hold keys and values"),
        ("node: {cpus: 0}", "node.cpus: "),
        ("node: {memory: 2GB}", "node.memory: "),
        ("node: {labels: {gpu: true}}", "node.labels.gpu: wants text: put it in quotes"),
        ("node: {labels: {-gpu: a}}", "is no label key"),
        ("node: {labels: {gpu: a b}}", "a label's value has"),
        ("node: {taints: [dedicated=db]}", "wants key=value:Effect"),
        ("node: {taints: [dedicated=db:Never]}", "wants key=value:Effect"),
        ("node: {mounts: [{host: ., machine: data}]}", "wants an absolute path"),
        ("node: {mounts: [{host: ., machine: /var}]}", "/var is the machine's own"),
        ("node: {mounts: [{host: '.:x', machine: /mnt}]}", "without ':' and ','"),
        ("node: {mounts: [{host: ., machine: /a}, {host: ., machine: /a/}]}", "/a of cp-1 is asked for twice"),
        ("node: {ports: [{host: 80, machine: 80}]}", "127.0.0.1:80/tcp once; asked for by cp-1 and worker-1"),
        ("nodes: {cp-1: {ports: [{host: 0, machine: 80}]}}", "nodes.cp-1.ports.0.host: "),
        ("nodes: {cp-1: {ports: [{host: 80, machine: 80, listen: any}]}}", "nodes.cp-1.ports.0.listen: "),
        (
            """nodes:
                 cp-1: {ports: [{host: 80, machine: 80}]}
                 worker-1: {ports: [{host: 80, machine: 81, listen: 0.0.0.0}]}""",
            "0.0.0.0:80/tcp once; asked for by cp-1 and worker-1",
        ),
        (
            "nodes: {worker-3: {cpus: 1}}",
            "nodes.worker-3: the lab has no such machine; it has cp-1, worker-1, worker-2",
        ),
        ("registry_mirrors: {docker.io: [mirror.example]}", "wants http://HOST:PORT"),
        ("registry_mirrors: {docker.io: ['http://u:secret@mirror.example']}", "holds no password"),
        ("registry_mirrors: {'docker.io/library': []}", "is no registry"),
        ("proxy: {http: 'ftp://proxy.example'}", "proxy.http: wants http://HOST:PORT"),
        ("proxy: {no_proxy: ['a b']}", "proxy.no_proxy.0: "),
        ("a: [", "is no YAML"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(path, {})
    assert named in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers: 2\n\nworker: 2", "line 3: worker: no such key; did you mean workers?"),
        ("node:\n  cpu: 2", "line 2: node.cpu: no such key; did you mean node.cpus?"),
        ("# a comment\ncpus: 2", "line 2: cpus: no such key; did you mean node.cpus?"),
        ("control-planes: 3", "line 1: control-planes: no such key; did you mean control_planes?"),
        ("hello_world: {colour: red}", "line 1: hello_world.colour: no such key; known here: hello_world.enabled"),
        ("name: ok\nworkers: 500", "line 2: workers: Input should be less than or equal to 50 (given: 500)"),
        ("node:\n  memory: 2G", "line 2: node.memory: wants a size such as 2Gi or 1500Mi (given: '2G')"),
        ("timing: fast\nnode: 3", "line 2: node: "),
        ("name: ok\nnetworks:\n  pods: 10.96.0.0/16", "line 2: networks: "),
        ("name: ok\ncontrol_planes: 2", "line 2: control_planes: etcd needs an odd number"),
        ("workers: 1\nname: ok\nworkers: 2", "workers stands twice, in line 1 and in line 3"),
        ("name: ok\n\tworkers: 2", "is no YAML: line 2, column 1: "),
    ],
)
def test_a_wrong_key_is_named_with_its_line_and_the_nearest_right_one(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(path, {})
    assert said in caught.value.message


def test_a_wrong_option_is_named_as_one_and_not_with_a_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text("workers: 2\n")
    with pytest.raises(UsageError, match=r"--workers: Input .* 50 \(given: 500\)"):
        config.load(path, {"workers": 500})


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text("workers: -1\ntiming: slow\n")
    with pytest.raises(UsageError) as caught:
        config.load(path, {})
    assert "workers: " in caught.value.message
    assert "timing: " in caught.value.message


def test_a_missing_file_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(tmp_path / "nowhere.yml", {})


def test_the_manifest_is_looked_for_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "there" / "labctl.yml"
    file.parent.mkdir()
    file.write_text("cni: none\ncni_manifest: net.yml\n")
    (file.parent / "net.yml").touch()
    (tmp_path / "mine.yml").touch()
    monkeypatch.chdir(tmp_path)
    assert config.load(file, {}).cni_manifest == str(file.parent / "net.yml")
    assert config.load(file, {"cni_manifest": "mine.yml"}).cni_manifest == str(tmp_path / "mine.yml")
    with pytest.raises(UsageError, match=r"there is no file .*/net\.yml"):
        config.load(None, {"cni": "none", "cni_manifest": "net.yml"})


def test_the_schema_accepts_the_defaults_and_refuses_a_typo() -> None:
    schema = config.schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(config.LabConfig().model_dump(mode="json"))
    assert not validator.is_valid({"worker": 2})


def test_networks_may_be_chosen() -> None:
    lab = config.load(None, {"networks": {"machines": "192.168.9.0/24"}})
    assert lab.networks.machines == IPv4Network("192.168.9.0/24")


def test_pods_get_a_network_from_labctl_or_from_a_manifest() -> None:
    asked = [{"cni": "routed"}, {"cni": "vxlan"}, {"cni": "none"}, {"cni": "none", "cni_manifest": "mine.yml"}]
    assert [config.LabConfig.model_validate(lab).has_network for lab in asked] == [True, True, False, True]


def test_a_machine_has_what_node_and_nodes_say(tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text(
        "node: {memory: 1Gi, cpus: 2, labels: {a: '1', b: '1'}, taints: [x:NoSchedule]}\n"
        "nodes: {worker-1: {memory: 2Gi, labels: {b: '2'}, taints: [y=1:NoExecute]}}\n"
    )
    lab = config.load(path, {})
    worker = lab.machine("worker-1")
    assert (worker.memory, worker.cpus, worker.labels) == ("2Gi", 2, {"a": "1", "b": "2"})
    assert worker.taints == ("x:NoSchedule", "y=1:NoExecute")
    assert lab.machine("worker-2") == lab.machine("cp-1") == lab.node


def test_files_are_looked_for_beside_the_file_and_only_by_up(tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text(
        "node: {mounts: [{host: ./data, machine: /data}]}\n"
        "ca_certificates: [ca.pem]\nimages: [./app.tar, localhost/app:1]\n"
    )
    lab = config.load(path, {})
    assert lab.images == (str(tmp_path / "app.tar"), "localhost/app:1")
    missing = config.missing_files(lab)
    assert [sentence.partition(":")[0] for sentence in missing] == ["mounts", "ca_certificates", "images"]
    assert all(str(tmp_path) in sentence for sentence in missing)
    (tmp_path / "data").mkdir()
    (tmp_path / "ca.pem").touch()
    (tmp_path / "app.tar").touch()
    assert config.missing_files(lab) == []


def test_a_proxys_password_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text("proxy: {http: 'http://user:secret@proxy example'}")
    with pytest.raises(UsageError) as caught:
        config.load(path, {})
    assert "secret" not in caught.value.message


def test_the_bundles_file_is_beside_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/lab.tar.zst").touch()
    (tmp_path / "lab/labctl.yml").write_text("bundle: {source: file, file: lab.tar.zst}\n")
    monkeypatch.chdir(tmp_path)
    assert config.load(Path("lab/labctl.yml"), {}).bundle.file == str(tmp_path / "lab/lab.tar.zst")
    (tmp_path / "lab/lab.tar.zst").unlink()
    with pytest.raises(UsageError, match=r"bundle\.file: there is no file .*lab\.tar\.zst"):
        config.load(Path("lab/labctl.yml"), {})


@pytest.mark.parametrize("image", ["nope nope", "", ":1", "a/", "a/B", "a@sha256:12", "http://a/b:1", "a:1:2"])
def test_what_is_no_name_of_an_image_is_refused_with_its_line(image: str, tmp_path: Path) -> None:
    path = tmp_path / "labctl.yml"
    path.write_text(f'workers: 1\nhello_world:\n  image: "{image}"\n')
    with pytest.raises(UsageError, match=r"line 3: hello_world\.image: wants the name of an image") as caught:
        config.load(path, {})
    assert repr(image) in caught.value.message


@pytest.mark.parametrize(
    "image",
    [
        "hello",
        "localhost/helloworld:1",
        "registry.example:5000/team/a_b.c--d:v1.2-RC",
        "GHCR.io/me/app",
        "docker.io/library/debian@sha256:" + "0a" * 32,
        "a/b:1@sha256:" + "0a" * 32,
    ],
)
def test_the_name_of_an_image_may_be_any_that_engines_take(image: str) -> None:
    assert config.load(None, {"hello_world": {"image": image}}).hello_world.image == image


def test_a_labctl_yml_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labctl.yml").mkdir()
    with pytest.raises(UsageError, match=r"labctl\.yml cannot be read: .*directory"):
        config.load(None, {})
    Path("labctl.yml").rmdir()
    Path("labctl.yml").symlink_to("gone.yml")
    with pytest.raises(UsageError, match=r"labctl\.yml cannot be read"):
        config.load(None, {})

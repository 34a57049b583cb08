from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.bundle.catalog import known_versions, recipe_for
from labctl.bundle.recipe import Program, Recipe, group_key
from labctl.errors import PrerequisiteError, UsageError

Change = Callable[[Recipe], Recipe]


def first_group(**changes: object) -> Change:
    def change(recipe: Recipe) -> Recipe:
        head, *rest = recipe.go_groups
        return replace(recipe, go_groups=(replace(head, **changes), *rest))  # type: ignore[arg-type]

    return change


def edited(name: str, text: str) -> Change:
    def change(recipe: Recipe) -> Recipe:
        (recipe.go_groups[0].source / name).write_text(text, encoding="utf-8")
        return replace(recipe)

    return change


GO_MOD = "module labctl/bundle/tools\n\ngo 1.26.0\n\nrequire example.org/tools v1.2.4\n"
CHANGES: dict[str, Change] = {
    "go.mod": edited("go.mod", GO_MOD),
    "go.sum": edited("go.sum", "other sums\n"),
    "a source": edited("main.go", "package main\n"),
    "tags": first_group(tags=("netgo",)),
    "flags": first_group(ldflags="-X main.v=0"),
    "cgo": first_group(cgo=True),
    "programs": first_group(programs=(Program("tool", "example.org/tools/tool", "bin"),)),
}
WHOLE: dict[str, Change] = {
    "version": lambda recipe: replace(recipe, version="9.9.8"),
    "arch": lambda recipe: replace(recipe, arch="arm64"),
    "suite": lambda recipe: replace(recipe, debian=replace(recipe.debian, suite="forky")),
    "images": lambda recipe: replace(recipe, images=recipe.images[:1]),
    "entrypoint": lambda r: replace(r, images=(replace(r.images[0], entrypoint=("/x",)), r.images[1])),
    "used_by": lambda r: replace(r, images=(replace(r.images[0], used_by="control_plane"), r.images[1])),
}


@pytest.mark.parametrize("name", [*CHANGES, *WHOLE])
def test_every_input_changes_the_name_of_the_bundle(name: str, recipe: Recipe) -> None:
    before = recipe.hash
    assert replace(recipe).hash == before
    assert (CHANGES | WHOLE)[name](recipe).hash != before


@pytest.mark.parametrize("name", CHANGES)
def test_every_input_changes_the_name_of_its_group_alone(name: str, recipe: Recipe) -> None:
    before = [group_key(group, "amd64", "go1") for group in recipe.groups]
    after = [group_key(group, "amd64", "go1") for group in CHANGES[name](recipe).groups]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_toolchain_and_architecture_change_a_go_group(recipe: Recipe) -> None:
    keys = {group_key(recipe.go_groups[0], arch, go) for arch in ("amd64", "arm64") for go in ("go1", "go2")}
    assert len(keys) == 4
    assert group_key(recipe.debian, "amd64", "go1") == group_key(recipe.debian, "amd64", "go2")


def test_a_go_test_changes_nothing(recipe: Recipe) -> None:
    before = recipe.hash
    assert edited("main_test.go", "package main\n")(recipe).hash == before


def test_versions_come_from_go_mod(recipe: Recipe) -> None:
    tools = recipe.go_groups[0]
    assert (tools.version, tools.origin) == ("1.2.3", "example.org/tools@v1.2.3")
    assert tools.link_flags == "-s -w -X main.v=1.2.3"
    with pytest.raises(ValueError, match="does not require"):
        _ = replace(tools, module="example.org/other").version


@pytest.mark.parametrize(
    ("package", "name"),
    [("go.etcd.io/etcd/server/v3", "server"), ("k8s.io/kubernetes/cmd/kubelet", "kubelet"), ("a/v2/cmd/ctr", "ctr")],
)
def test_the_file_that_go_build_writes(package: str, name: str) -> None:
    assert Program("x", package).built_as == name


@pytest.mark.parametrize("version", known_versions())
def test_each_known_version_agrees_with_its_go_mod(version: str) -> None:
    real = recipe_for(version)
    versions = {group.name: group.version for group in real.go_groups}
    assert versions["kubernetes"] == version
    refs = {image.ref for image in real.images}
    assert f"registry.k8s.io/kube-apiserver:v{version}" in refs
    assert f"registry.k8s.io/etcd:{versions['etcd']}-0" in refs
    assert f"registry.k8s.io/coredns/coredns:v{versions['coredns']}" in refs
    assert f"registry.k8s.io/pause:{versions['pause']}" in refs


@pytest.mark.parametrize("version", known_versions())
def test_each_known_recipe_is_consistent(version: str) -> None:
    real = recipe_for(version)
    programs = [program for group in real.go_groups for program in group.programs]
    names = {program.name for program in programs}
    assert len(names) == len(programs)
    assert len({image.file_name for image in real.images}) == len(real.images)
    for group in real.go_groups:
        text = (group.source / "go.mod").read_text(encoding="utf-8")
        assert all(program.package in text for program in group.programs), group.name
        assert not group.module or (group.source / "go.sum").is_file()
    for image in real.images:
        assert set(image.files.values()) <= names
    used = {name for image in real.images for name in image.files.values()}
    assert {program.name for program in programs if not program.folder} <= used
    kubernetes = next(group for group in real.go_groups if group.name == "kubernetes")
    minor = version.split(".")[1]
    for library in ("component-base", "client-go/pkg"):
        assert f"-X k8s.io/{library}/version.gitVersion=v{version} " in kubernetes.link_flags
        assert f"-X k8s.io/{library}/version.gitMinor={minor} " in kubernetes.link_flags


@pytest.mark.parametrize("version", known_versions())
def test_kubernetes_libraries_are_of_its_own_release(version: str) -> None:
    kubernetes = next(group for group in recipe_for(version).go_groups if group.name == "kubernetes")
    replaced = [
        line.split()
        for line in (kubernetes.source / "go.mod").read_text(encoding="utf-8").splitlines()
        if line.startswith("\tk8s.io/") and " => " in line
    ]
    assert len(replaced) > 20
    for name, _, other, library_version in replaced:
        assert (other, library_version) == (name, f"v0.{version.removeprefix('1.')}")


def test_the_images_are_those_that_kubeadm_asks_for_and_those_that_drills_need() -> None:
    """`kubeadm config images list`, but for etcd, which is newer; then ours."""
    assert [image.ref for image in recipe_for("1.37.2").images] == [
        "registry.k8s.io/kube-apiserver:v1.37.2",
        "registry.k8s.io/kube-controller-manager:v1.37.2",
        "registry.k8s.io/kube-scheduler:v1.37.2",
        "registry.k8s.io/kube-proxy:v1.37.2",
        "registry.k8s.io/etcd:3.7.3-0",
        "registry.k8s.io/coredns/coredns:v1.14.6",
        "registry.k8s.io/pause:3.10.2",
        "registry.k8s.io/descheduler/descheduler:v0.36.0",
        "localhost/busybox:1",
        "localhost/helloworld:1",
    ]


def test_an_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"1\.36\.99") as caught:
        recipe_for("1.36.99")
    assert known_versions()[0] in caught.value.hint


def test_an_unknown_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(PrerequisiteError, match="riscv64"):
        recipe_for(known_versions()[0])


def test_nothing_but_sources_is_below_go() -> None:
    """What lies there goes into the hash and the wheel."""
    for group in recipe_for(known_versions()[0]).go_groups:
        strangers = {path.name for path in Path(group.source).rglob("*") if path.is_file()}
        assert strangers <= {"go.mod", "go.sum", "main.go", "main_test.go", "page.html"}

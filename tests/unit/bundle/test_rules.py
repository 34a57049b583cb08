from __future__ import annotations

import pytest

from labctl.bundle import rules
from labctl.bundle.catalog import known_versions, recipe_for, release_for
from labctl.errors import UsageError


@pytest.mark.parametrize(
    ("component", "version"),
    [
        ("kubernetes", "1.35.0"),
        ("kubernetes", "1.37.99"),
        ("containerd", "2.0.0"),
        ("etcd", "3.5.24-0"),
        ("coredns", "0.1"),
    ],
)
def test_what_a_rule_allows(component: str, version: str) -> None:
    rules.check({component: version})


@pytest.mark.parametrize(
    ("component", "version"),
    [
        ("kubernetes", "1.34.9"),
        ("kubernetes", "1.38.0"),
        ("containerd", "1.7.30"),
        ("etcd", "3.5.23"),
        ("etcd", "3.8.0"),
        ("etcd", "3.8"),
        ("cni_plugins", "0.9.1"),
        ("runc", "1.1.15"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_it(component: str, version: str) -> None:
    name = component.replace("_", "-")
    said = rf"{name} {version} cannot be used: it must be .* or newer and older than .*, for "
    with pytest.raises(UsageError, match=said):
        rules.check({component: version})


@pytest.mark.parametrize("version", known_versions())
def test_what_labctl_makes_by_itself_keeps_the_rules(version: str) -> None:
    recipe = recipe_for(version, "amd64")
    built = {group.name.replace("-", "_"): group.version for group in recipe.go_groups}
    rules.check({**built, "kubernetes": version})
    release_for(version, "amd64")


@pytest.mark.parametrize("version", ["1.34.4", "1.38.0"])
def test_other_releases_are_refused_everywhere(version: str) -> None:
    for make in (recipe_for, release_for):
        with pytest.raises(UsageError, match=f"kubernetes {version} cannot be used"):
            make(version, "amd64")

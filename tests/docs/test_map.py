import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_map_names_each_file_and_folder_and_nothing_else() -> None:
    named = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "map.md").read_text(), re.MULTILINE))
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    missing = [path for path in tracked if not _is_named(path, named)]
    assert not missing, "docs/map.md lacks these"
    stale = [name for name in named if not (ROOT / name.removesuffix("/**")).exists()]
    assert not stale, "docs/map.md names what is not there"


def _is_named(path: str, named: set[str]) -> bool:
    """A line for a folder that ends in /** speaks for all below it."""
    parents = [f"{parent}/**" for parent in Path(path).parents if str(parent) != "."]
    return path in named or any(parent in named for parent in parents)


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

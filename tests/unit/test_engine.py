import subprocess
import sys
from pathlib import Path

from labctl.providers.engine import Engine


def test_a_command_that_a_killed_labctl_began_is_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "engine-of-this-test"
    program.symlink_to(sys.executable)
    script = "import time; time.sleep(1)"
    with subprocess.Popen([program, "-c", script, "run", "--label", "labctl.lab=mine"]) as left:
        Engine(program.name).settle("labctl.lab=another")
        assert left.poll() is None
        Engine(program.name).settle("labctl.lab=mine")
        assert not Path(f"/proc/{left.pid}").exists()

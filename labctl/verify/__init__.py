"""Is a lab, node by node and as a cluster, what it claims to be?

`declare` gives a test its number, its reason and its remedy; `expect` is the fixture with which it says what it saw and
what it expected; `node` (with `certificates`, by its `shell`) and `cluster` are what it looks at; `plugin` makes
results of tests (pytest loads it by itself); `model` is the result; `run` runs pytest over tests/nodes and
tests/cluster; `deviations` names what is otherwise than a benchmark asks, and why.
"""

from labctl.verify.declare import check
from labctl.verify.expect import Expect

__all__ = ["Expect", "check"]

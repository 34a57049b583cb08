"""What tests of nodes share. Run them with `labctl verify`, or with plain pytest:

pytest tests/nodes --hosts='ansible://all' --ansible-inventory=INVENTORY
"""

from __future__ import annotations

"""The documented schemas of what models write are the models' own."""

from __future__ import annotations

import json
from pathlib import Path

from labctl.verify.model import Report

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def test_the_schema_of_a_verification() -> None:
    written = json.loads((SCHEMAS / "verify.json").read_text(encoding="utf-8"))
    told = Report.model_json_schema(by_alias=True, mode="serialization")
    assert written == {"$schema": "https://json-schema.org/draft/2020-12/schema", **told}

import json

from labctl.logs import without_passwords


def test_a_proxys_password_is_taken_out() -> None:
    text = json.dumps({"http": "http://user:p@ss@proxy.example:3128", "https": "https://proxy.example", "mail": "a@b"})
    assert json.loads(without_passwords(text)) == {
        "http": "http://***@proxy.example:3128",
        "https": "https://proxy.example",
        "mail": "a@b",
    }

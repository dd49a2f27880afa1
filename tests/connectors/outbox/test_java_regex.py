"""Java's regular expressions and replacements in Python, by the rule of Kafka Connect's RegexRouter."""

import pytest

from connectors.outbox.errors import BadOption
from connectors.outbox.java_regex import java_router


@pytest.mark.parametrize(
    ("regex", "replacement", "text", "topic"),
    [
        ("(?<routedByValue>.*)", "outbox.event.${routedByValue}", "order", "outbox.event.order"),
        ("(?<routedByValue>.*)", "${routedByValue}.events", "", ".events"),
        ("(.*)", "$1.v1", "a.b", "a.b.v1"),
        ("([a-z]+)_([a-z]+)", "$2-$1", "b_a", "a-b"),
        ("([a-z]+)", "t.$1", "Order", "Order"),
        ("(a)(b)?", "$1$2x", "a", "ax"),
        ("(a)", "$12", "a", "a2"),
        ("(.*)", r"\$1\\", "a", "$1\\"),
        (r"(\p{Upper}\p{Lower}*).*", "$1", "OrderLine", "Order"),
        (r"([\p{Alpha}_]+)\d*", "$1", "ab_1", "ab_"),
        ("(?i)(ORDER)s", "$1", "orders", "order"),
        ("a*?", "x", "aaa", "xaaa"),
        (r"(\w+)", "$1!", "größe", "größe"),
    ],
)
def test_a_route_is_that_of_javas_regex_router(regex: str, replacement: str, text: str, topic: str) -> None:
    assert java_router(regex, replacement)(text) == topic


@pytest.mark.parametrize(
    ("regex", "replacement"),
    [("(", ""), ("(a)", "$2"), ("a", "${b}"), ("a", "$"), (r"\p{IsGreek}", ""), ("[a-z&&[^b]]", "")],
)
def test_what_python_cannot_do_is_refused(regex: str, replacement: str) -> None:
    with pytest.raises(BadOption):
        java_router(regex, replacement)

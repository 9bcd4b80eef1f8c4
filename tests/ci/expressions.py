"""`${{ … }}` of GitHub Actions, as far as our files use it. What is not known is an error, not an empty text."""

import json
import re

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>\|\||&&|==|!=|[!().,\[\]]))")
PART = re.compile(r"\$\{\{(.*?)\}\}", re.S)


def fill(value, context):
    """Every expression in a value of YAML, at any depth, replaced by what it means."""
    if isinstance(value, dict):
        return {key: fill(inner, context) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, context) for inner in value]
    if not isinstance(value, str):
        return value
    alone = PART.fullmatch(value.strip())
    if alone and value.count("${{") == 1:
        return evaluate(alone.group(1), context)
    return PART.sub(lambda part: text(evaluate(part.group(1), context)), value)


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def evaluate(expression, context):
    parser = Parser(expression, context)
    value = parser.either()
    assert parser.next is None, f"cannot read {expression!r} from {parser.next!r}"
    return value


class Parser:
    def __init__(self, expression, context):
        self.expression, self.context, self.at = expression.strip(), context, 0
        self.advance()

    def advance(self):
        rest = self.expression[self.at:]
        if not rest.strip():
            self.kind = self.next = None
            return
        match = TOKEN.match(rest)
        assert match, f"cannot read {self.expression!r} at {rest!r}"
        self.at += match.end()
        self.kind, self.next = match.lastgroup, match.group(match.lastgroup)

    def take(self, sign):
        if self.kind == "sign" and self.next == sign:
            self.advance()
            return True
        return False

    def either(self):
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value or other
        return value

    def both(self):
        value = self.compared()
        while self.take("&&"):
            other = self.compared()
            value = value and other
        return value

    def compared(self):
        value = self.unary()
        if self.take("=="):
            return text(value) == text(self.unary())
        if self.take("!="):
            return text(value) != text(self.unary())
        return value

    def unary(self):
        if self.take("!"):
            return not self.unary()
        if self.take("("):
            value = self.either()
            assert self.take(")")
            return value
        kind, word = self.kind, self.next
        self.advance()
        if kind == "text":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return int(word)
        assert kind == "name", f"{self.expression!r} has {word!r} where a value should be"
        if word in ("true", "false"):
            return word == "true"
        if self.take("("):
            return self.call(word)
        assert word in self.context, f"{self.expression!r}: there is no context {word!r}"
        value = self.context[word]
        while True:
            if self.take("."):
                value, name = self.inner(value, self.next), self.next
                self.advance()
            elif self.take("["):
                value = self.inner(value, self.either())
                assert self.take("]")
            else:
                return value

    @staticmethod
    def inner(value, name):
        return value.get(name) if isinstance(value, dict) else None

    def call(self, name):
        arguments = []
        while not self.take(")"):
            arguments.append(self.either())
            self.take(",")
        if name == "fromJSON":
            return json.loads(arguments[0])
        return {"success": self.context["job"]["success"], "failure": not self.context["job"]["success"],
                "always": True, "cancelled": False}[name]

"""Log records say what was worked on, one JSON object a line, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.telemetry import configure_logs, current, redact, working_on

URL = "postgresql://ada:hunter2hunter2@db.example/evomerge"


@pytest.fixture
def stream(monkeypatch):
    for name in ("EVOMERGE_LOG_FORMAT", "EVOMERGE_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
    kept = io.StringIO()
    yield kept
    logger = logging.getLogger("evomerge")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def lines(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_carries_context_and_its_own_fields(stream):
    configure_logs("json", "info", stream)
    with working_on(search="s1", candidate=7), working_on(attempt=2, worker=None):
        logging.getLogger("evomerge.worker").info("scored %s", "well", extra={"seconds": 1.5})
    (line,) = lines(stream)
    assert line["message"] == "scored well"
    assert (line["search"], line["candidate"], line["attempt"], line["seconds"]) == (
        "s1",
        7,
        2,
        1.5,
    )
    assert (line["level"], line["logger"], "worker" in line) == ("info", "evomerge.worker", False)
    assert line["time"].endswith("+00:00")
    assert current() == {}


def test_threads_do_not_mix_their_fields_up(stream):
    configure_logs("json", "info", stream)

    def work(number: int) -> None:
        with working_on(candidate=number):
            for _ in range(50):
                logging.getLogger("evomerge").info("%s", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 200
    assert all(line["message"] == str(line["candidate"]) for line in lines(stream))


def test_an_exception_is_one_line_and_its_secrets_are_hidden(stream):
    configure_logs("json", "info", stream)
    try:
        raise ValueError(f"cannot reach {URL}")
    except ValueError:
        logging.getLogger("evomerge").exception("failed with token=%s", "abcdefgh12345678")
    (line,) = lines(stream)
    assert "hunter2" not in stream.getvalue()
    assert "abcdefgh12345678" not in stream.getvalue()
    assert "ValueError" in line["error"]


def test_the_level_decides_and_a_second_call_replaces_the_first(stream):
    configure_logs("text", "info", io.StringIO())
    configure_logs("text", "error", stream)
    logging.getLogger("evomerge.x").warning("not shown")
    with working_on(search="s1"):
        logging.getLogger("evomerge.x").error("shown")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("error shown (search=s1)")


def test_what_a_library_adds_to_every_record_is_no_field(stream, monkeypatch):
    plain = logging.getLogRecordFactory()

    def marked(*args, **kwargs):
        record = plain(*args, **kwargs)
        record.library_mark = "everywhere"
        return record

    configure_logs("text", "info", stream)
    monkeypatch.setattr(logging, "_logRecordFactory", marked)
    logging.getLogger("evomerge.x").info("said", extra={"own": 1})
    assert stream.getvalue().rstrip().endswith("said (own=1)")


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match="unknown log format"):
        configure_logs("xml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        URL,
        "Authorization: Bearer hunter2hunter2",
        "password=hunter2hunter2",
        '{"api_key": "hunter2hunter2"}',
        "RAY_AUTH_TOKEN=hunter2hunter2 ray start",
        "redis://:hunter2hunter2@cache/0",
        "https://x/?token=hunter2hunter2&page=2",
    ],
)
def test_a_secret_is_known_by_where_it_stands(text):
    assert "hunter2" not in redact(text)
    assert redact(redact(text)) == redact(text)


def test_a_secret_of_the_environment_is_known_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f00dfeedf00dfeed")
    assert redact("the head said f00dfeedf00dfeed twice") == "the head said *** twice"


@given(st.text(max_size=200))
def test_text_without_secrets_is_left_alone(text):
    plain = "".join(letter for letter in text if letter not in ":=")
    if not any(word in plain.lower() for word in ("bearer", "basic")):
        assert redact(plain) == plain


def test_a_search_logs_every_candidate_under_its_number(tmp_path):
    from ruamel.yaml import YAML

    from tests.support import fake_spec

    file = tmp_path / "search.yml"
    spec = fake_spec(tmp_path)
    with file.open("w", encoding="utf-8") as written:
        YAML(typ="safe").dump(spec.model_dump(mode="json", exclude_defaults=True), written)
    command = [sys.executable, "-m", "evomerge", "--log-format", "json", "run", str(file)]
    done = subprocess.run(
        [*command, "--inline", "--store", str(tmp_path / "s.db"), "--search-id", "logged"],
        capture_output=True,
        text=True,
        check=True,
    )
    logged = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    scored = [line for line in logged if line["message"] == "attempt scored"]
    assert {line["search"] for line in scored} == {"logged"}
    assert {0, 1, 2} <= {line["candidate"] for line in scored}
    assert all(line["attempt"] == 1 for line in scored)

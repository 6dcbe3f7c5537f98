"""Whatever a study file holds, checking it answers with problems or accepts it: no other exception, and at once."""

import copy
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewise.errors import StudyError
from tunewise.study_file import check_study, read_study

N_CASES = 2_000
MOST_SECONDS = 10.0
"""Of CPU; what grows without bounds takes far more, the imports of a first check far less."""

STUDY = {
    "name": "mine",
    "description": "A study with every field.",
    "data": {
        "source": "texts.csv",
        "text": ["premise", "hypothesis"],
        "ratings": {"column": "rating", "bands": {"low": {"at_most": -0.5}, "high": {"at_least": 0.5, "below": 4}}},
        "id": "n",
        "encoding": "utf-8",
        "split": {
            "development": 0.1,
            "test": {"package": "p", "version": "1", "sha256": "0" * 64, "member": "a.csv"},
            "salt": "s",
        },
        "licence": "MIT",
    },
    "backbones": ["minilm", {"name": "own", "source": "path:folder", "kind": "encoder", "max_tokens": 128}],
    "variants": [
        "majority",
        {"method": "lora", "name": "wide", "backbone": "own", "settings": {"rank": 32, "targets": ["query"]}},
        {"method": "all_layers", "compute": {"gpus": 1, "cpus": 2, "memory_gb": 8.0, "gpu_type": "a", "pool": "gpu"}},
    ],
    "seeds": [0, 1, 2],
    "budget": "quick",
    "metric": "accuracy",
    "class_weights": "none",
    "compute": {"cpus": 1},
    "cron": "0 3 1 * *",
    "tracking": {"uri_env": "URI", "experiment": "mine"},
}

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(timezones=st.just(None) | st.timezones()),
    st.binary(max_size=8),
    st.sets(st.integers(0, 3), max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3) | st.integers(0, 3) | st.none(), st.integers(0, 3), max_size=3),
    st.sampled_from(
        ["", " ", "majority", "lora", "minilm", "mine", "quick", "~", "~x", "hub:", "hub:a/b@c", "archive:x", "s3://a"]
    ),
    st.sampled_from(["../x", "/etc", "a" * 300, "x\0y", "{{ a }}", "0.2", "1e400", "dataset", "embeddings_x", "http://[x", "*"]),
)

ODD_LINES = st.sampled_from(
    [
        "\tname: x",
        "name: again",
        "<<: *nothing",
        "<<: [1]",
        "<<: {budget: standard}",
        "x: &x {a: *x}",
        "seeds: &s [0, *s]",
        "a: &a [1, 2]",
        "description: *a",
        "? [a, b]\n: c",
        "? {a: b}\n: c",
        "!!set {a, b}",
        "description: !!set {a, b}",
        "description: !!omap [a: 1]",
        "description: !!binary '%'",
        "description: !!int x",
        "description: !!float x",
        "description: !!timestamp x",
        "description: !!python/object/apply:os.getcwd []",
        "description: !x y",
        "description: 2024-02-30",
        "description: 0b_",
        "description: 0x_",
        "description: 190:20:30",
        "description: " + "9" * 5_000,
        "description: 1e999",
        "description: .nan",
        "description: |2\n x",
        "description: 'open",
        'description: "\\ud800"',
        'description: "\\U00110000"',
        'description: "\\x00\\a"',
        "description: {a: b",
        "seeds: " + "[" * 2_000,
        "seeds: [" + "1, " * 5_000 + "2]",
        "description: [" + ", ".join(["{}"] * 5_000) + "]",
        "variants: [" + ", ".join(["majority"] * 2_000) + "]",
        "variants: [" + ", ".join(["{method: lora, settings: {rank: x}}"] * 500) + "]",
        "---",
        "...",
        "%YAML 9.9",
        "type: os.path",
        "attributes: 3",
        "b0: &b0 [1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "\n".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 8)}]" for i in range(1, 12))
        + "\ndescription: *b11",
        "\n".join(["c0: &c0 {}", *(f"c{i}: &c{i} {{<<: [*c{i - 1}, *c{i - 1}]}}" for i in range(1, 25))]),
        "d0: &d0 [1]\n" + "\n".join(f"d{i}: &d{i} [*d{i - 1}]" for i in range(1, 900)),
    ]
)

ODD_BYTES = st.sampled_from(
    [b"\xff", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x85", b"\x1b[31m", b"\t", b"\r", b"\xe2\x80\xa8", b"&", b"*"]
)


def places(value, above=()):
    """Yield the path of every value inside ``value``."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*above, key))


PLACES = [place for place in places(STUDY) if place]


def at(study, place):
    """Return the container that ``place`` is in, or nothing where it is gone."""
    for key in place[:-1]:
        try:
            study = study[key]
        except (KeyError, IndexError, TypeError):
            return None
    return study if isinstance(study, (dict, list)) else None


def drop(draw, within, key):
    """Take a value out."""
    within.pop(key)


def replace(draw, within, key):
    """Put an odd value in its place."""
    within[key] = draw(ODD_VALUES)


def rename(draw, within, key):
    """Give a value another key, which may be none that YAML calls text; in a list, put it twice."""
    if isinstance(within, list):
        within.append(within[key])
    else:
        names = (
            st.sampled_from([f"{key}x", str(key)[1:], "method", "settings"]) | st.none() | st.integers() | st.dates() | st.text()
        )
        within[draw(names)] = within.pop(key)


def nest(draw, within, key):
    """Put a value into a list or a mapping of its own, some times over."""
    for _ in range(draw(st.sampled_from([1, 2, 40]))):
        within[key] = [within[key]] if draw(st.booleans()) else {"a": within[key]}


def share(draw, within, key):
    """Put another part of the study there, which YAML then writes as an alias."""
    within[key] = within if draw(st.booleans()) else next(iter(within.values() if isinstance(within, dict) else within))


@st.composite
def study_files(draw):
    """The bytes of a study that was right before something was done to its values, its lines and its bytes."""
    study = copy.deepcopy(STUDY)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from(PLACES))
        within = at(study, place)
        if within is not None and place[-1] in (within if isinstance(within, dict) else range(len(within))):
            draw(st.sampled_from([drop, replace, replace, rename, nest, share]))(draw, within, place[-1])
    if draw(st.booleans()):
        study = {"type": "pipelines.component.StudyComponent", "attributes": study}
    try:
        lines = yaml.safe_dump(study, sort_keys=False, allow_unicode=draw(st.booleans())).split("\n")
    except (yaml.YAMLError, TypeError):
        # Some values cannot be written as YAML, and so cannot stand in a file.
        lines = yaml.safe_dump(STUDY, sort_keys=False).split("\n")
    for line in draw(st.lists(ODD_LINES, max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    for odd in draw(st.lists(ODD_BYTES, max_size=1)):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + odd + data[start + draw(st.integers(0, 3)) :]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the table that the study names."""
    made = tmp_path_factory.mktemp("studies")
    (made / "texts.csv").write_text("premise,hypothesis,rating,n\na,b,1,2\n")
    (made / "folder").mkdir()
    return made


def test_the_study_that_is_mutated_is_right(folder):
    """Otherwise every mutation would be refused for the same reason."""
    path = folder / "right.yaml"
    path.write_text(yaml.safe_dump(STUDY, sort_keys=False))

    assert check_study(path) == []


@pytest.mark.slow
@settings(
    max_examples=N_CASES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(study_files())
def test_a_mutated_study_is_accepted_or_refused_in_words(folder, data):
    """Problems have a line and a message; a file without problems is read; nothing else is raised, and nothing runs away."""
    path = Path(folder) / f"study_{os.getpid()}.yaml"
    path.write_bytes(data)
    started = time.process_time()
    problems = check_study(path)
    spent = time.process_time() - started

    assert spent < MOST_SECONDS
    assert all(problem.line >= 1 and problem.message for problem in problems)
    "\n".join(map(str, problems)).encode("utf-8")  # raises where a problem could not be printed
    if problems:
        with pytest.raises(StudyError, match="is no valid study"):
            read_study(path)
    else:
        assert read_study(path).planned()

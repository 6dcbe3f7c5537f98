"""Dagster's real pages: a variant is materialised by GraphQL as a click would, and its result is read back."""

import json
import socket
import time
from unittest.mock import Mock

import pytest
import requests
from typer.testing import CliRunner

from pipelines import cli
from pipelines.servers import HOST, ServerError, _refuse_taken, dagster_pages, warning_of
from tunewise.toy_study import write_toy_study

HOPELESS = {"method": "lora", "name": "hopeless", "settings": {"targets": ["no_such_layer"]}}
NAMES = ("dataset", "split", "embeddings", "head_only", "hopeless", "comparison")

LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
RESULT = """
query Result($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) {
    ... on Asset {
      assetMaterializations(limit: 1) {
        metadataEntries { label ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue } }
      }
    }
  }
}"""
REPOSITORIES = """
{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"""


def test_a_port_that_is_taken_is_named():
    """The error says which port and which option moves the page."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{port} cannot be served on \(Address already.*--mlflow-port"):
            _refuse_taken(HOST, port, "mlflow")


def test_an_address_that_is_not_this_machines_is_named():
    """The error names the option for addresses too."""
    with pytest.raises(ServerError, match=r"192\.0\.2\.1:3000 cannot be served on.*an address of this machine with --host"):
        _refuse_taken("192.0.2.1", 3000, "dagster")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_serving_this_machine_alone_is_no_risk(host):
    """Loopback addresses need no warning, and the default is one."""
    assert warning_of(host) == ""
    assert warning_of(HOST) == ""


@pytest.mark.parametrize("host", ["::", "192.168.1.5", "my-machine"])
def test_serving_others_names_the_risk(host):
    """The warning says that there is no login, what others could do, and what to do instead."""
    assert "no login" in warning_of(host)
    assert "run any code here as you" in warning_of(host)
    assert "ssh -L" in warning_of(host)


def test_the_command_warns_before_it_serves_others(home, monkeypatch):
    """`tunewise ui --host` shows the risk first, and hands the address on."""
    asked = Mock()
    monkeypatch.setattr("pipelines.servers.serve_pages", asked)
    said = CliRunner().invoke(cli.app, ["ui", "--host", "192.168.1.5"]).output
    quiet = CliRunner().invoke(cli.app, ["ui"]).output

    assert said.index("Warning: the pages have no login") < said.index("Dagster: http://192.168.1.5:3000")
    assert "Warning" not in quiet
    assert [call.args[3] for call in asked.call_args_list] == ["192.168.1.5", "127.0.0.1"]


@pytest.mark.slow
def test_a_variant_is_materialised_from_the_pages(ready_home, studies):
    """A run launched over GraphQL fits `head_only`; a variant that fails beside it does not keep back the comparison."""
    write_toy_study(studies / "toy", ["majority", "head_only", HOPELESS])
    port = _free_port()
    with dagster_pages(ready_home, port, _free_port()) as server:
        ask = _asker(port)
        _wait(lambda: _ask_quietly(ask), server)
        launched = ask(LAUNCH, {"parameters": _parameters(ask, NAMES)})["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        ended = _wait(lambda: _ended(ask(STATUS, {"id": launched["run"]["runId"]})["runOrError"]["status"]), server)
        (found,) = _results(ask, "head_only")
        (compared,) = _wait(lambda: _results(ask, "comparison"), server)

    assert ended == "FAILURE"
    assert 0.0 <= found["test_accuracy"] <= 1.0
    assert {one["variant"]: one["reason"] for one in _missing(ready_home)} == {"majority": "never ran", "hopeless": "failed"}
    assert compared["n_missing"] == 2
    assert (ready_home.study("toy") / "latest" / "head_only" / "0.json").exists()


def _results(ask, name):
    """Return the figures of each materialisation of an asset, or nothing where there is none."""
    asset = ask(RESULT, {"key": {"path": ["toy", name]}})["assetOrError"]
    events = asset.get("assetMaterializations", [])
    return [
        {one["label"]: one.get("floatValue", one.get("intValue")) for one in event["metadataEntries"]} for event in events
    ] or None


def _missing(home):
    return json.loads((home.study("toy") / "comparison" / "comparison.json").read_text())["missing"]


def _parameters(ask, names):
    (found,) = ask(REPOSITORIES, {})["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": found["name"],
        "repositoryLocationName": found["location"]["name"],
        "jobName": "toy",
        "assetSelection": [{"path": ["toy", name]} for name in names],
    }
    return {"selector": selector, "runConfigData": {}, "mode": "default"}


def _ended(status):
    return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None


def _asker(port):
    def ask(query, variables):
        answer = requests.post(f"http://{HOST}:{port}/graphql", json={"query": query, "variables": variables}, timeout=30)
        return answer.json()["data"]

    return ask


def _ask_quietly(ask):
    try:
        return ask(REPOSITORIES, {})["repositoriesOrError"].get("nodes") or None
    except requests.RequestException:
        return None


def _wait(get, server):
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        if (found := get()) is not None:
            return found
        time.sleep(0.5)
    raise AssertionError("waited for five minutes")


def _free_port():
    with socket.socket() as server:
        server.bind((HOST, 0))
        return server.getsockname()[1]

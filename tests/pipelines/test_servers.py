"""Dagster's real pages: a variant is materialised by GraphQL as a click would, and its result is read back."""

import socket
import time

import pytest
import requests

from pipelines.servers import HOST, ServerError, _refuse_taken, dagster_pages
from tunewise.toy_study import write_toy_study

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
      assetMaterializations(limit: 1) { metadataEntries { label ... on FloatMetadataEntry { floatValue } } }
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
        with pytest.raises(ServerError, match=rf"Port {port} is taken.*--mlflow-port"):
            _refuse_taken(port, "mlflow")


@pytest.mark.slow
def test_a_variant_is_materialised_from_the_pages(ready_home, studies):
    """`head_only` of a tiny study, launched over GraphQL, ends well and its accuracy is on its page."""
    write_toy_study(studies / "toy", ["majority", "head_only"])
    port = _free_port()
    with dagster_pages(ready_home, port, _free_port()) as server:
        ask = _asker(port)
        _wait(lambda: _ask_quietly(ask), server)
        keys = [{"path": ["toy", name]} for name in ("dataset", "split", "embeddings", "head_only")]
        launched = ask(LAUNCH, {"parameters": _parameters(ask, keys)})["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        ended = _wait(lambda: _ended(ask(STATUS, {"id": run_id})["runOrError"]["status"]), server)
        entries = ask(RESULT, {"key": {"path": ["toy", "head_only"]}})["assetOrError"]["assetMaterializations"][0][
            "metadataEntries"
        ]

    assert ended == "SUCCESS"
    figures = {entry["label"]: entry.get("floatValue") for entry in entries}
    assert 0.0 <= figures["test_accuracy"] <= 1.0
    assert (ready_home.study("toy") / "latest" / "head_only" / "0.json").exists()


def _parameters(ask, keys):
    (found,) = ask(REPOSITORIES, {})["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": found["name"],
        "repositoryLocationName": found["location"]["name"],
        "jobName": "toy",
        "assetSelection": keys,
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

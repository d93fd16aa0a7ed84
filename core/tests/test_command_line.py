"""The commands that start nothing: what they say, and how they end when nobody can be told."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentgateway._host.cli import main

COMMAND = str(Path(sys.executable).with_name("agentgateway"))
LLM = "llm: {models: [{name: m, provider: simulator}]}\n"


def validated(tmp_path: Path, config: str) -> Result:
    file = tmp_path / "c.yaml"
    file.write_text(config)
    return CliRunner().invoke(main, ["validate", str(file)])


# --- validate: whatever stops a start ---------------------------------------------------------------------------------


SHAPES = """
llm:
  models:
  - {name: m, provider: {reference: shared}, %s}
  providers:
  - name: shared
    provider: simulator
    defaults: {%s}
"""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('finalTransformation: {top_k: "1 +"}', "finalTransformation.top_k: line 1"),
        ("finalTransformation: {top_k: 1}", "finalTransformation.top_k: expected text"),
        ("promptCaching: {minTokens: -1}", "promptCaching.minTokens: must be at least 0"),
        ("promptCaching: {cacheMessageOffset: some}", "promptCaching.cacheMessageOffset: "),
        ("promptCaching: {cacheTool: true}", "promptCaching.cacheTool: unknown key"),
        ("promptCaching: true", "promptCaching: "),
    ],
)
def test_what_is_wrong_about_a_providers_document_is_told_where_it_stands(tmp_path, said, message):
    done = validated(tmp_path, SHAPES % (said, ""))
    assert (done.exit_code, f":4: llm.models[0].{message}" in done.output) == (1, True), done.output
    done = validated(tmp_path, SHAPES % ("", said))
    assert (done.exit_code, f":8: llm.providers[0].defaults.{message}" in done.output) == (1, True), done.output


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ("fields: {add: {ok: nope.x}}", "config.metrics.fields.add.ok: line 1, column 1: unknown variable nope"),
        ("fields: {add: {gateway: '1'}}", "config.metrics.fields.add.gateway: there is a label of that name already"),
        ("fields: {add: {gen_ai_token_type: '1'}}", "there is a label of that name already"),
        ("fields: {add: {le: '1'}}", "config.metrics.fields.add.le: Prometheus keeps this label for itself"),
        ("fields: {add: {__x: '1'}}", "config.metrics.fields.add.__x: Prometheus keeps this label for itself"),
        ("fields: {add: {a-b: '1'}}", "config.metrics.fields.add.a-b: not a label's name"),
        ("fields: {add: {1st: '1'}}", 'config.metrics.fields.add["1st"]: not a label\'s name'),
        ("fields: {add: {'': '1'}}", 'config.metrics.fields.add[""]: not a label\'s name'),
        ("remove: [request]", "config.metrics.remove[0]: no metric of that name\n  hint: did you mean requests?"),
    ],
)
def test_metrics_that_could_not_be_exposed_are_refused(tmp_path, metrics, says):
    done = validated(tmp_path, f"config: {{metrics: {{{metrics}}}}}\n{LLM}")
    assert done.exit_code == 1
    assert says in done.output
    assert "hint: " in done.output or "unknown variable" in done.output


def test_labels_and_removals_that_are_right_are_taken(tmp_path):
    metrics = "{remove: [requests, agentgateway_retries_total, guardrail_checks], fields: {add: {team: request.path}}}"
    done = validated(tmp_path, f"config: {{metrics: {metrics}}}\n{LLM}")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'c.yaml'}: ok (1 ports, 2 routes)\n")


def test_what_is_wrong_with_the_process_and_with_the_rest_is_told_together(tmp_path):
    done = validated(tmp_path, "config: {workers: 0}\ngateways: {a: {prot: 1}}\n")
    assert "config.workers: must be at least 1" in done.output
    assert "gateways.a.prot: unknown key" in done.output


PASSING = """
llm:
  models:
  - {name: m, provider: openAI, %s}
  virtualModels:
  - {name: v, routing: {weighted: {targets: [{model: %s}]}}}
"""


@pytest.mark.parametrize(
    ("said", "target", "message"),
    [
        ("passthrough: all", "m", "models[0].passthrough: "),
        ("params: {model: x}, passthrough: opaque", "n", "models[0].passthrough: nothing in an opaque call is changed"),
        ("passthrough: opaque", "m", "virtualModels[0].routing.weighted.targets[0].model: `m` is opaque"),
    ],
)
def test_what_passing_calls_on_cannot_keep_is_refused(tmp_path, said, target, message):
    text = PASSING % (said, target)
    done = validated(tmp_path, text if target == "m" else text.partition("  virtualModels")[0])
    assert (done.exit_code, f"llm.{message}" in done.output) == (1, True), done.output


def test_a_provider_that_answers_by_itself_passes_nothing_on(tmp_path):
    done = validated(tmp_path, "llm: {models: [{name: m, provider: simulator, passthrough: detect}]}\n")
    assert "llm.models[0].passthrough: this provider answers by itself" in done.output


# --- explain ----------------------------------------------------------------------------------------------------------


def test_what_no_line_of_the_file_put_there_is_built_in(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(LLM)
    lines = CliRunner().invoke(main, ["explain", str(file)]).output.splitlines()
    assert [line.split()[-2:] for line in lines if "accessLog" in line] == [["built", "in"]] * 3
    file.write_text(f"{LLM}frontendPolicies:\n  accessLog: {{filter: 'true'}}\n")
    output = CliRunner().invoke(main, ["explain", str(file)]).output
    assert output.count(f"{file}:3") == output.count("frontendPolicies.accessLog") == 3


def test_explain_tells_which_listeners_the_edge_leaves_alone(tmp_path):
    file = tmp_path / "c.yaml"
    for default, said in (
        ("on", ["listener default, edge off", "listener http"]),
        ("off", ["listener default, edge off", "listener http, edge off"]),
    ):
        file.write_text(
            f"config: {{server: {{edge: {default}}}}}\n"
            "gateways: {a: {port: 1, edge: off}, b: {port: 2, listeners: [{name: http}]}}\n"
            "routes: [{backends: [{host: 'localhost:1'}]}]\n"
        )
        output = CliRunner().invoke(main, ["explain", str(file)]).output
        assert re.findall("listener .*", output) == said


# --- streams that are no use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["validate -", "explain -f -", "-f -"])
def test_a_closed_standard_input_is_told_in_one_line(command):
    done = subprocess.run(["sh", "-c", f'"{COMMAND}" {command} <&-'], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: <stdin>: cannot read the configuration: standard input is closed\n"


@pytest.mark.parametrize("command", ["plugins", "schema", "--help", "validate -", "explain -"])
def test_a_full_standard_output_is_told_in_one_line(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, *command.split()], stdout=full, stderr=subprocess.PIPE, input=LLM, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"

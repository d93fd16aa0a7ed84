"""Wheels in empty environments: the core with one provider, each plugin alone, a stranger's plugin."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))]
STRANGER = ROOT / "tests/fixtures/third_party_plugin"

pytestmark = pytest.mark.timeout(300)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def name_of(member: Path) -> str:
    return str(tomllib.loads((member / "pyproject.toml").read_text())["project"]["name"])


def needs(member: Path) -> list[str]:
    """The distributions of this project that one needs besides the core, itself included."""
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    others = {name_of(other) for other in MEMBERS[1:]}
    return [project["name"], *(name for one in project["dependencies"] if (name := one.split(">")[0]) in others)]


BUILD = """
import os, sys
from hatchling.build import build_wheel
for folder in sys.argv[2:]:
    os.chdir(folder)
    build_wheel(sys.argv[1])
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of every distribution, built from a copy of its folder."""
    out = tmp_path_factory.mktemp("wheels")
    sources = {name_of(member): out / f"source-{name_of(member)}" for member in [*MEMBERS, STRANGER]}
    for member, copy in zip([*MEMBERS, STRANGER], sources.values(), strict=True):
        shutil.copytree(member, copy, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    done = subprocess.run([sys.executable, "-c", BUILD, out, *sources.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: one for name in sources for one in out.glob(f"{name.replace('-', '_')}-*.whl")}


class Environment:
    """An empty virtual environment. One comes after the other in the same folder, so that what is compiled for one
    serves the next."""

    def __init__(self, folder: Path, outside: dict[str, str]) -> None:
        self.folder = folder / "venv"
        self.environ = {**outside, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
        self._uv("venv", "--quiet", "--clear", "--python", sys.executable, str(self.folder))

    def _uv(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "uv", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environ)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def install(self, *what: object) -> None:
        """From the cache when everything is in it, so that this works offline after the first time."""
        words = ["pip", "install", "--quiet", "--python", str(self.folder / "bin/python"), *map(str, what)]
        if self._uv(*words, "--offline", check=False).returncode:
            self._uv(*words)

    def run(self, *words: str, stdin: str = "", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        command = [str(self.folder / "bin" / words[0]), *words[1:]]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=120, env=self.environ
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environment")


@pytest.fixture
def empty(place: Path, outside: dict[str, str]) -> Environment:
    return Environment(place, outside)


LLM = """\
llm:
  port: 0
  models:
    - name: m
      provider: simulator
"""


def test_the_core_and_one_provider_are_a_working_gateway(wheels, empty):
    empty.install(wheels["agentgateway"], wheels["agentgateway-simulator"])
    done = empty.run("agentgateway", "-f", "-", "--validate-only", stdin=LLM)
    assert (done.returncode, done.stdout) == (0, "-: ok (1 ports, 2 routes)\n"), done.stderr
    assert answered(empty) == "You said: hi"


def answered(empty: Environment) -> str:
    """What the gateway of that environment, served from standard input, says to `hi`."""
    program = """
import json, re, signal, subprocess, sys, urllib.request
gateway = subprocess.Popen([sys.argv[1], "-f", "-"],
    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
gateway.stdin.write(sys.argv[2]); gateway.stdin.close()
for line in gateway.stderr:
    if found := re.search(r"listening on http://\\S+:(\\d+) \\(gateway", line): port = found[1]
    if line.rstrip().endswith("ready"): break
body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
headers = {"content-type": "application/json"}
request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
print(json.load(urllib.request.urlopen(request, timeout=10))["choices"][0]["message"]["content"])
gateway.send_signal(signal.SIGTERM)
sys.exit(gateway.wait(10))
"""
    off = 'config: {adminAddr: "off", statsAddr: "off", readinessAddr: "off"}\n'
    done = empty.run("python", "-c", program, str(empty.folder / "bin/agentgateway"), off + LLM)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_not_installed_stops_with_the_package_that_would_provide_it(wheels, empty, tmp_path):
    empty.install(wheels["agentgateway"], wheels["agentgateway-simulator"])
    config = tmp_path / "gateway.yaml"
    rules = """    authorization: {rules: ['jwt.sub == "x"', 'request.pth == "/"', 'true', 'apiKey.team == 1']}\n"""
    config.write_text(LLM + f"    - name: other\n      provider: anthropic\n  policies:\n    jwtAuth: {{}}\n{rules}")
    done = empty.run("agentgateway", "-f", str(config))
    assert done.returncode == 1
    assert f"{config}:9: llm.policies.jwtAuth: no installed plugin provides it" in done.stderr
    assert "pip install agentgateway-auth-jwt" in done.stderr
    assert f"{config}:7: llm.models[1].provider.anthropic: no installed plugin provides it" in done.stderr
    assert "pip install agentgateway-anthropic" in done.stderr
    for index, root, package in ((0, "jwt", "agentgateway-auth-jwt"), (3, "apiKey", "agentgateway-auth-apikey")):
        told = f"rules[{index}]: line 1, column 1: unknown variable {root}: no installed plugin provides it"
        assert f"{config}:10: llm.policies.authorization.{told}\n  hint: pip install {package}" in done.stderr
    assert "authorization.rules[1]: line 1, column 1: request has no field pth" in done.stderr


@pytest.mark.parametrize("member", MEMBERS[1:], ids=name_of)
def test_each_distribution_installs_next_to_the_core_with_what_it_names(wheels, empty, member):
    name = name_of(member)
    empty.install(wheels["agentgateway"], *(wheels[one] for one in needs(member)))
    rows = json.loads(empty.run("agentgateway", "plugins", "--json").stdout)
    own = [row for row in rows if row["distribution"] == name]
    assert own
    assert not [row for row in rows if row["phases"].startswith("cannot be loaded")]


def test_a_strangers_plugin_is_the_equal_of_ours(wheels, empty, tmp_path):
    empty.install(wheels["agentgateway"], wheels["agentgateway-simulator"], wheels["acme-gateway"])
    rows = json.loads(empty.run("agentgateway", "plugins", "--json").stdout)
    theirs = {row["name"]: (row["kind"], row["version"]) for row in rows if row["distribution"] == "acme-gateway"}
    assert theirs == {
        "greeting": ("policy", "1.2.3"),
        "shouting": ("guard", "1.2.3"),
        "acme": ("provider", "1.2.3"),
        "hail": ("command", "1.2.3"),
        "broken": ("command", "1.2.3"),
    }
    made = empty.run("agentgateway", "schema").stdout
    assert "Whom to greet." in made
    assert "How many letters a shout may have" in made
    assert "Where Acme runs it." in made
    config = tmp_path / "gateway.yaml"
    config.write_text(
        LLM.replace("simulator", "{acme: {region: mars}}")
        + "  policies:\n    greeting: {greet: all}\n    guardrails: {response: [{shouting: {}}]}\n"
    )
    explained = empty.run("agentgateway", "explain", str(config))
    assert explained.returncode == 0, explained.stderr
    (greeting,) = [line for line in explained.stdout.splitlines() if "pre_request" in line and "greeting" in line][:1]
    assert f"{config}:7" in greeting
    helped = empty.run("agentgateway", "--help").stdout
    assert re.search(r"^  hail +Print the targets of FILE\.$", helped, re.M)
    assert re.search(r"^  broken +\(cannot be loaded\)$", helped, re.M)
    assert empty.run("agentgateway", "hail", "-f", str(config)).stdout == "hail acme\nhail models\n"
    missing = empty.run("agentgateway", "hail", "-f", "nowhere.yaml")
    assert missing.returncode == 1 and missing.stderr.startswith("error: nowhere.yaml: cannot read")
    fails = empty.run("agentgateway", "broken", "--any", "words")
    assert fails.returncode == 1 and fails.stderr.startswith("error: the command `broken` cannot be loaded")


def test_a_strangers_tests_run_our_contract_suites(wheels, empty, tmp_path):
    empty.install(wheels["agentgateway"], wheels["acme-gateway"], "pytest>=9.2,<10", "pytest-asyncio>=1.5,<2")
    shutil.copytree(STRANGER / "tests", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    done = empty.run("python", "-m", "pytest", "-q", "tests", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout

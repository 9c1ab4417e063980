"""Promises about what surrounds the package: pyproject.toml, the workflow, the scripts that decide, the citation."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import yaml

import deconvnet

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 reads no TOML")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
SCRIPTS = sorted((ROOT / ".ci").iterdir())


def steps(job: str) -> list[dict[str, str]]:
    return WORKFLOW["jobs"][job]["steps"]


def commands() -> list[str]:
    return [step["run"] for job in WORKFLOW["jobs"] for step in steps(job) if "run" in step]


def test_workflow_runs_every_python():
    """The Pythons of the workflow are those of the classifiers, from the lowest that is required; the lowest has a job of its own."""
    classifiers = PROJECT["project"]["classifiers"]
    pythons = [text.rpartition(" ")[2] for text in classifiers if re.search(r":: 3\.\d+$", text)]
    assert WORKFLOW["jobs"]["newest"]["strategy"]["matrix"]["python"] == pythons
    assert PROJECT["project"]["requires-python"] == f">={pythons[0]}"
    (lowest,) = (step["with"]["python-version"] for step in steps("lowest") if "setup-python" in step.get("uses", ""))
    assert lowest == pythons[0]
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{pythons[0].replace('.', '')}"


def test_workflow_runs_the_scripts_of_the_house():
    """Each script that the workflow names is one of `.ci/`, and what `.ci/run` runs runs there, too."""
    named = {script for command in commands() for script in re.findall(r"bash (\.ci/\w+)", command)}
    assert named == set(re.findall(r"bash (\.ci/\w+)", (ROOT / ".ci" / "run").read_text()))
    assert all((ROOT / script).is_file() for script in named)
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert tool in commands()
        assert re.search(rf"^{tool}$", (ROOT / ".ci" / "run").read_text(), re.M)


def test_pre_commit_runs_what_decides():
    """The hooks are ruff and mypy of the environment, not others of a version of their own."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert [hook["entry"].split(" --")[0] for hook in hooks] == ["ruff check", "ruff format", "mypy"]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_groups_are_the_extra():
    """The dependency group `dev` holds what the extra `test` installs: the same packages, the same bounds."""
    groups = PROJECT["dependency-groups"]
    assert groups["dev"] == [{"include-group": "test"}, {"include-group": "lint"}]
    assert sorted(groups["test"] + groups["lint"]) == sorted(PROJECT["project"]["optional-dependencies"]["test"])


def test_lower_bounds_only():
    """Users bring their own torch: every dependency has a lower bound and no upper one."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(package for extra in extras for package in extra)]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+(; python_version (>=|<) '3\.\d+')?", requirement), requirement


def test_sdist_holds_the_checkout():
    """Every file that git tracks is in the sdist, or is one that the build adds by itself."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    tops = {f"/{path.split('/')[0]}" for path in listing.splitlines()}
    assert tops - set(included) <= {"/LICENSE", "/pyproject.toml", "/.gitignore"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_can_be_read(script):
    """Bash reads the script to its end; it stops at the first error."""
    subprocess.run(["bash", "-n", script], check=True)
    assert "set -euo pipefail" in script.read_text()


def test_an_environment_that_exists_is_left_alone(tmp_path):
    """`.ci/run` makes an environment and removes it: one that exists is refused, and stays."""
    (tmp_path / "mine").mkdir()
    environment = {"PATH": "/usr/bin:/bin", "DECONVNET_CI_VENV": str(tmp_path / "mine"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash", ROOT / ".ci" / "run"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == (
        f"DECONVNET_CI_VENV must name a folder that does not exist yet; found {tmp_path / 'mine'}. Remove it, or name another one.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_release_is_of_the_tested_wheel():
    """What goes to the index was built and tested by `.ci/package`, from a tag that is the version, and no token is stored."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    workflow = yaml.safe_load(text)
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads "on" as true
    assert workflow["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert any(step.get("run", "").startswith("bash .ci/package dist") for step in build["steps"])
    assert "secrets." not in text
    (check,) = (step["run"] for step in build["steps"] if step.get("name") == "The tag is the version")
    for tag, code in ((f"v{deconvnet.__version__}", 0), (deconvnet.__version__, 1), ("v9.9", 1)):
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "GITHUB_REF_NAME": tag}
        assert subprocess.run(["bash", "-c", check], cwd=ROOT, env=environment).returncode == code


def test_the_wheel_is_small():
    """What the wheel packs, compressed as in a wheel, is under 2 MB; `.ci/package` weighs the real one."""
    files = [path for path in Path(deconvnet.__file__).parent.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 2_000_000


def test_an_index_shows_the_readme_with_whole_addresses():
    """Links and pictures of the README that an index shows lead to the tag's files; each of them exists here."""
    text = (ROOT / "README.md").read_text()
    for rule in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"].replace("$HFPR_VERSION", deconvnet.__version__), text)
    targets = re.findall(r"\]\(([^)]+)\)", text)
    ours = [target for target in targets if "github" in target]
    assert len(ours) > 15
    assert all(re.match(r"https?://|#", target) for target in targets)
    for target in ours:
        host, path = re.fullmatch(r"https://(.+)/deconvnet/deconvnet/(?:blob/)?v[\d.]+/([^#]+)(?:#.*)?", target).groups()
        assert (ROOT / path).is_file(), target
        assert host == ("raw.githubusercontent.com" if path.endswith(("png", "jpg")) else "github.com")


def test_the_conda_recipe_needs_what_the_package_needs():
    """The recipe has pyproject's packages with their bounds, under conda's names, its command, and the version."""
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    needed = {}
    for requirement in PROJECT["project"]["dependencies"]:
        name, bound = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
        needed[names.get(name, name)] = f">={bound}"  # of two for different Pythons the last, that of the oldest
    assert dict(line.split() for line in recipe["requirements"]["run"] if "python_min" not in line) == needed
    built = [line for line in recipe["requirements"]["host"] if ">=" in line]
    assert [line.replace(" ", "") for line in built] == PROJECT["build-system"]["requires"]
    assert recipe["context"]["version"] == deconvnet.__version__
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"deconvnet = {PROJECT['project']['scripts']['deconvnet']}"


def test_pages_say_what_works_from_a_checkout():
    """Until the name is on an index, no page, notebook or message tells to install it from there."""
    folders = (("docs", "*.md"), ("notebooks", "*.ipynb"), ("deconvnet", "*.py"))
    texts = [ROOT / "README.md", *(path for folder, pattern in folders for path in (ROOT / folder).rglob(pattern))]
    told = {path.name for path in texts if re.search(r"pip install (-\S+ )*\\?[\"']?deconvnet\b", path.read_text())}
    assert told == set()


def test_torch_hub_asks_for_what_the_package_needs():
    """hubconf.py names the packages of pyproject.toml, as they are imported: torch.hub says which of them are missing."""
    imported = {"fonttools": "fontTools", "pillow": "PIL"}
    always = [requirement for requirement in PROJECT["project"]["dependencies"] if not requirement.startswith("tomli")]
    needed = {re.match(r"[\w-]+", requirement)[0] for requirement in always}
    listed = runpy.run_path(str(ROOT / "hubconf.py"))["dependencies"]
    assert sorted(listed) == sorted(imported.get(name, name) for name in needed)


def test_the_site_has_every_page():
    """Each page of docs/ has a place in the site's navigation, in mkdocs.yml, and each place a page."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    places = re.findall(r"'([\w/-]+\.md)'", str(site["nav"]))
    assert len(set(places)) == len(places)
    assert set(places) == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_citation():
    """The citation names the project and its licence as pyproject.toml does."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = PROJECT["project"]
    assert (citation["title"], citation["license"]) == (project["name"], project["license"])
    assert citation["repository-code"] == project["urls"]["Repository"]

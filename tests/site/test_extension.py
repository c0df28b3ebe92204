"""The book's Sphinx extension: the book's home, notebooks and style sheets."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from attend_site import accessible, notebooks, repository, slim
from attend_site.repository import Repository
from matplotlib.figure import Figure
from PIL import Image

FORK = Repository("someone/a-fork", "0123abc")
KNOWN = ("ATTEND_SLUG", "ATTEND_REV", "GITHUB_REPOSITORY", "GITHUB_SHA")


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


def clone(folder: Path, origin: str | None) -> Path:
    """A repository with one commit and the given origin."""
    commit = [
        "-c",
        "user.name=n",
        "-c",
        "user.email=e",
        "commit",
        "--allow-empty",
        "-qm",
        "first",
    ]
    for arguments in (["init", "-q"], commit):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    if origin:
        subprocess.run(
            ["git", "remote", "add", "origin", origin], cwd=folder, check=True
        )
    return folder


@pytest.mark.parametrize(
    ("remote", "slug"),
    [
        ("https://github.com/someone/a-fork", "someone/a-fork"),
        ("https://github.com/someone/a-fork.git", "someone/a-fork"),
        ("https://github.com/someone/a-fork/", "someone/a-fork"),
        ("https://token@github.com/someone/a.b.git", "someone/a.b"),
        ("git@github.com:someone/a-fork.git", "someone/a-fork"),
        ("ssh://git@github.com/someone/a-fork.git", "someone/a-fork"),
        ("https://gitlab.com/someone/a-fork.git", None),
        ("https://github.com.example.org/someone/a-fork", None),
        ("/srv/git/a-fork.git", None),
        ("../a-fork", None),
        ("", None),
    ],
)
def test_slug_of_a_remote(remote: str, slug: str | None) -> None:
    assert repository.slug_of(remote) == slug


@pytest.mark.usefixtures("nothing_known")
def test_repository_comes_from_the_origin(tmp_path: Path) -> None:
    found = repository.find(
        clone(tmp_path, "git@github.com:someone/a-fork.git")
    )
    assert found is not None
    assert found.slug == "someone/a-fork"
    assert len(found.revision) == 40


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("origin", ["/srv/git/a-fork.git", None])
def test_no_repository_where_nothing_names_one(
    origin: str | None, tmp_path: Path
) -> None:
    assert repository.find(clone(tmp_path, origin)) is None


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("names", [KNOWN[:2], KNOWN[2:]])
def test_environment_comes_before_the_origin(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names[0], FORK.slug)
    monkeypatch.setenv(names[1], FORK.revision)
    assert (
        repository.find(clone(tmp_path, "git@github.com:upstream/book.git"))
        == FORK
    )


def test_a_wrong_slug_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTEND_SLUG", "https://github.com/someone/a-fork")
    with pytest.raises(ValueError, match="write it as owner/repository"):
        repository.find(tmp_path)


def test_addresses() -> None:
    assert FORK.install == "git+https://github.com/someone/a-fork@0123abc"
    assert FORK.site == "https://someone.github.io/a-fork/"
    assert (
        Repository("Someone/someone.github.io", "1").site
        == "https://someone.github.io/"
    )
    assert FORK.colab("notebooks/02_attention.ipynb") == (
        "https://colab.research.google.com/github/someone/a-fork/blob/colab/"
        "notebooks/02_attention.ipynb"
    )


def book(folder: Path, home: Repository | None) -> SimpleNamespace:
    """What the extension sees of Sphinx, for one chapter with exercises."""
    cell = {
        "cell_type": "code",
        "metadata": {"tags": ["setup"]},
        "source": ['SOURCE = ""\n'],
    }
    for name in ("notebooks", "exercises"):
        (folder / name).mkdir()
        (folder / name / "01_topic.ipynb").write_text(
            json.dumps({"cells": [cell]})
        )
    return SimpleNamespace(
        srcdir=folder,
        outdir=folder / "html",
        config=SimpleNamespace(attend_repository=home),
        env=SimpleNamespace(found_docs={"notebooks/01_topic", "book/index"}),
    )


@pytest.mark.parametrize(
    ("home", "line"),
    [(FORK, f'SOURCE = "{FORK.install}"\n'), (None, 'SOURCE = ""\n')],
)
def test_published_notebooks_are_stamped(
    home: Repository | None, line: str, tmp_path: Path
) -> None:
    notebooks.publish(book(tmp_path, home), None)
    for name in ("notebooks", "exercises"):
        published = json.loads(
            (tmp_path / "html" / name / "01_topic.ipynb").read_text()
        )
        assert published["cells"][0]["source"] == [line]
    assert not (tmp_path / "html/solutions").exists()


@pytest.mark.parametrize("home", [FORK, None])
def test_run_bar(home: Repository | None, tmp_path: Path) -> None:
    context = {"body": "<h1>Topic</h1><p>Text.</p>"}
    notebooks.add_run_bar(
        book(tmp_path, home), "notebooks/01_topic", "", context, None
    )
    assert context["body"].startswith('<h1>Topic</h1>\n<nav class="run-bar"')
    assert 'href="../exercises/01_topic.ipynb"' in context["body"]
    assert ("blob/colab/exercises/01_topic.ipynb" in context["body"]) == (
        home is not None
    )


def test_purge_keeps_what_is_used_and_nothing_else() -> None:
    css = (
        "a{color:red}.used,.unused{top:0}.unused:hover{top:0}"
        ".used:not(.unused){left:0}@media print{.unused{top:0}}"
        "@media screen{#used{top:0}}:is(.used,.unused) p{top:0}"
        "@font-face{src:url(a.woff)}"
    )
    assert slim.purge(css, {"used"}) == (
        "a{color:red}.used{top:0}.used:not(.unused){left:0}@media "
        "screen{#used{top:0}}@font-face{src:url(a.woff)}"
    )


def test_empty_corner_of_a_table_is_no_heading() -> None:
    corner, heading = (
        '<th class="head"><p></p></th>',
        '<th class="head"><p>loss</p></th>',
    )
    context = {"generate_toctree_html": None, "body": corner + heading}
    accessible.mend(None, "page", "", context, None)
    assert context["body"] == "<td></td>" + heading


def test_folds_of_the_sidebar_have_names() -> None:
    sidebar = (
        '<li><a href="a">API</a>'
        "<details><summary><i></i></summary></details></li>"
    )
    context = {"generate_toctree_html": lambda **options: sidebar}
    accessible.mend(None, "page", "", context, None)
    assert (
        '<summary aria-label="Pages below API">'
        in context["generate_toctree_html"]()
    )


def test_figures_shrink_and_look_the_same(tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    axes = Figure(figsize=(4, 3)).subplots()
    axes.imshow([[i * j for i in range(20)] for j in range(20)])
    axes.figure.savefig(figure)
    before, size = (
        np.asarray(Image.open(figure).convert("RGB"), dtype=int),
        figure.stat().st_size,
    )
    slim.shrink(figure)
    after = np.asarray(Image.open(figure).convert("RGB"), dtype=int)
    assert abs(after - before).max() <= 24  # of 255
    assert figure.stat().st_size < 0.7 * size

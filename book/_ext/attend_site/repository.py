"""Which repository, and which commit, this copy of the book is built from."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

GITHUB = re.compile(
    r"^(?:https?://(?:[^@/]+@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
    r"([\w.-]+/[\w.-]+?)(?:\.git)?/?$"
)


@dataclass(frozen=True)
class Repository:
    """A GitHub repository at one commit.

    ``slug`` is ``owner/name``, ``revision`` the commit.
    """

    slug: str
    revision: str

    @property
    def url(self) -> str:
        """Its page on GitHub."""
        return f"https://github.com/{self.slug}"

    @property
    def install(self) -> str:
        """What pip installs the library from."""
        return f"git+{self.url}@{self.revision}"

    @property
    def site(self) -> str:
        """Where GitHub Pages serves its site."""
        owner, name = self.slug.split("/")
        host = f"{owner.lower()}.github.io"
        return (
            f"https://{host}/"
            if name.lower() == host
            else f"https://{host}/{name}/"
        )

    def colab(self, notebook: str) -> str:
        """Colab's address for a notebook on the generated branch ``colab``."""
        return (
            "https://colab.research.google.com/github/"
            f"{self.slug}/blob/colab/{notebook}"
        )


def slug_of(remote: str) -> str | None:
    """``owner/name`` from a git remote's URL; None if that is not on GitHub."""
    match = GITHUB.match(remote)
    return match.group(1) if match else None


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError:
        # no git on this machine: the book builds without it
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def find(folder: Path) -> Repository | None:
    """The repository that the environment names, else ``folder``'s git origin.

    The environment says it with ``ATTEND_SLUG`` and ``ATTEND_REV``, or, in a
    GitHub workflow, with ``GITHUB_REPOSITORY`` and ``GITHUB_SHA``. None where
    neither knows: then the site has no Colab button and no canonical address,
    and is complete otherwise.
    """
    env = os.environ
    slug = env.get("ATTEND_SLUG") or env.get("GITHUB_REPOSITORY")
    if slug and not re.fullmatch(r"[\w.-]+/[\w.-]+", slug):
        raise ValueError(
            f"ATTEND_SLUG is {slug!r}; write it as owner/repository."
        )
    slug = slug or slug_of(_git(folder, "remote", "get-url", "origin"))
    revision = (
        env.get("ATTEND_REV")
        or env.get("GITHUB_SHA")
        or _git(folder, "rev-parse", "HEAD")
    )
    return Repository(slug, revision) if slug and revision else None

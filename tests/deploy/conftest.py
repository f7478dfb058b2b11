"""The image of k3 discovery, built once for all tests that run something in it."""

from pathlib import Path

import pytest

from tests import needs
from tests.deploy import image as images
from tests.deploy.image import Image
from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What deploy/docker/discovery/Dockerfile makes, with this machine's Python in place of the base image's."""
    needs.require(needs.NETNS)
    return images.build(dockerfile("discovery"), tmp_path_factory.mktemp("image"))


def dockerfile(module: str) -> Path:
    return ROOT / "deploy" / "docker" / module / "Dockerfile"

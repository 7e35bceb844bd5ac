"""Lays out the root of an image without a distribution: interpreter, modules as bytecode, libraries, CAs, time zones.

Run in a build stage with the interpreter that goes into the image:

    python3 images/assemble.py ROOT SITE PROGRAM=module:function …

SITE is where pip put the packages (`pip install --target`). Nothing else of the stage gets into ROOT: no shell, no
package manager, no pip, no source files. For every Debian package that a file was taken from, its entry is kept in
/var/lib/dpkg/status.d and its licence in /usr/share/doc, where scanners look for them.
"""

import compileall
import os
import py_compile
import re
import shutil
import site
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

USER = 65532
_STDLIB = Path(sysconfig.get_path("stdlib"))
# What no program reads while it runs.
UNREAD = (
    "__pycache__", "tests", "bin", "*.pyi", "*.c", "*.h", "*.pxd", "*.pyx", "RECORD", "INSTALLER", "REQUESTED",
    "direct_url.json",
)  # fmt: skip
# Parts of the standard library that no program of ours uses.
_UNUSED = (
    "config-*", "dist-packages", "site-packages", "test", "idlelib", "lib2to3", "tkinter", "turtle*", "ensurepip",
    "distutils", "pydoc_data", "venv", "EXTERNALLY-MANAGED", "LICENSE.txt", "sitecustomize.py", "_curses*", "readline*",
    "_tkinter*", "_test*", "_gdbm*", "_dbm*", "xxlimited*", "_ctypes_test*",
)  # fmt: skip
_SETTINGS = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def main(root: Path, packages: Path, *programs: str) -> None:
    """Fill `root`."""
    taken: set[Path] = set()
    interpreter = Path(os.path.realpath(sys.executable))
    for name in ("bin", "lib", "lib64", "sbin"):  # as merged-/usr distributions have it
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for source, target, left_out in (
        (_STDLIB, _STDLIB, (*UNREAD, *_UNUSED)),
        (packages, Path(site.getsitepackages()[0]), UNREAD),
    ):
        ignore = shutil.ignore_patterns(*left_out)
        shutil.copytree(source, root / target.relative_to("/"), ignore=ignore, symlinks=True)
    bytecode(root / "usr")
    shutil.copy2(interpreter, root / "usr/bin" / interpreter.name)
    (root / "usr/bin/python3").symlink_to(interpreter.name)
    extensions = [path for path in (root / "usr").rglob("*.so*") if path.is_file()]
    subprocess.run(["strip", "--strip-unneeded", *extensions], check=True)
    for binary in (interpreter, *_STDLIB.rglob("*.so"), *packages.rglob("*.so*")):
        for library in _libraries(binary):
            if packages not in library.parents and library not in taken:
                taken.add(library)
                _copy(library, root)
    _copy(Path("/etc/ssl/certs/ca-certificates.crt"), root)
    _copy(Path("/etc/os-release"), root)  # by which scanners know whose packages these are
    shutil.copytree(
        "/usr/share/zoneinfo",
        root / "usr/share/zoneinfo",
        ignore=shutil.ignore_patterns("posix", "right"),
        symlinks=True,
    )
    for name, text in _SETTINGS.items():
        (root / name).write_text(text, encoding="utf-8")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for program in programs:
        _program(root, program)
    _packages(root, {*taken, interpreter, _STDLIB / "os.py"}, ("ca-certificates", "tzdata"))


def bytecode(folder: Path) -> None:
    """Every module as `name.pyc` in its own folder, and no source; equal for equal sources."""
    whole = compileall.compile_dir(
        folder,
        quiet=1,
        legacy=True,
        optimize=0,
        stripdir=str(folder.parent),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not whole:
        raise SystemExit("a module does not compile")
    for source in folder.rglob("*.py"):
        source.unlink()


def _libraries(binary: Path) -> set[Path]:
    """Paths of the shared libraries that a binary needs, the loader among them."""
    listed = subprocess.run(["ldd", binary], check=False, capture_output=True, text=True).stdout
    if "not found" in listed:
        raise SystemExit(f"{binary} lacks a library:\n{listed}")
    return {Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+) \(", listed, re.MULTILINE)}


def _copy(path: Path, root: Path) -> None:
    """A file under the name by which it is asked for, in the folder where that really is."""
    place = Path(os.path.realpath(path.parent)) / path.name
    target = root / place.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    target.chmod(stat.S_IMODE(path.stat().st_mode))


def _program(root: Path, program: str) -> None:
    name, _, entry = program.partition("=")
    module, _, function = entry.partition(":")
    path = root / "usr/bin" / name
    path.write_text(
        f"#!/usr/bin/python3 -I\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n",
        encoding="utf-8",
    )
    path.chmod(0o755)


def _packages(root: Path, files: set[Path], names: tuple[str, ...]) -> None:
    """Note the Debian packages that `files` are from (and those of `names`), for scanners and for their licences."""
    found = set(names)
    for file in files:
        for path in (file, Path(os.path.realpath(file)), Path(str(file).replace("/lib/", "/usr/lib/", 1))):
            owner = subprocess.run(["dpkg", "-S", path], check=False, capture_output=True, text=True).stdout
            if owner:
                found.add(owner.partition(":")[0])
                break
    for name in sorted(found):
        status = subprocess.run(["dpkg", "-s", name], check=True, capture_output=True, text=True).stdout
        for target, text in (
            (root / "var/lib/dpkg/status.d" / name, status),
            (root / "usr/share/doc" / name / "copyright", Path(f"/usr/share/doc/{name}/copyright").read_text("utf-8")),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

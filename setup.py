"""Builds the one extension module: the Cython boundary and all of csrc/.

Everything else about the package stands in pyproject.toml. The only need beyond pip is a C
compiler. Environment:

  RTCFWD_SANITIZE=thread|address   instrument the C code (run Python with the runtime preloaded)
  RTCFWD_NO_EXTENSION=1            leave the extension out (editable install; see Makefile)
  CC, CFLAGS, LDFLAGS              as ever
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PYX = "rtcfwd/forwarder/_forwarder.pyx"

SANITIZERS = {
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
}


def c_files(pattern: str) -> list[str]:
    """Paths below csrc/, relative to this file, in a fixed order (reproducible links)."""
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").glob(pattern))


def has_ipsec_mb() -> bool:
    """Whether ipsec-mb (Debian: libipsec-mb-dev) can be compiled and linked; it is optional."""
    if os.environ.get("RTCFWD_NO_IPSEC_MB"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(
            "#include <intel-ipsec-mb.h>\n"
            "int main(void) { return imb_get_version() < IMB_VERSION(1, 3, 0); }\n"
        )
        cc = os.environ.get("CC", "cc").split()
        command = [*cc, str(source), "-o", str(Path(folder) / "probe"), "-lIPSec_MB"]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def flags() -> tuple[list[str], list[str]]:
    """Compiler and linker flags."""
    compile_args = ["-std=c11", "-O3", "-D_GNU_SOURCE", "-pthread", "-fvisibility=hidden"]
    link_args = ["-pthread"]
    sanitize = os.environ.get("RTCFWD_SANITIZE", "")
    if sanitize:
        if sanitize not in SANITIZERS:
            raise SystemExit(f"RTCFWD_SANITIZE={sanitize}: use one of {', '.join(SANITIZERS)}")
        compile_args += [*SANITIZERS[sanitize], "-g", "-O1"]
        link_args += SANITIZERS[sanitize]
    if has_ipsec_mb() and not sanitize:
        compile_args.append("-DRF_HAVE_IPSEC_MB")
        link_args.append("-lIPSec_MB")
    return compile_args, link_args


class ParallelBuildExt(build_ext):
    """Compiles the C files at once on all cores, and only those that are out of date.

    setuptools itself compiles one file after the other, and all of them when any has changed.
    """

    def flags(self) -> Path:
        """A file with the compiler's flags, as old as they are: ipsec-mb may come later."""
        path = Path(self.build_temp) / "flags"
        text = " ".join(compile_args)
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    def build_extensions(self) -> None:
        compiler: Any = self.compiler
        self.build_temp += os.environ.get("RTCFWD_SANITIZE", "")  # objects of their own
        newest_header = max(Path(h).stat().st_mtime for h in (*c_files("**/*.h"), self.flags()))

        def compile_all(
            sources: list[str],
            output_dir: str | None = None,
            macros: Any = None,
            include_dirs: Any = None,
            debug: bool = False,
            extra_preargs: Any = None,
            extra_postargs: Any = None,
            depends: Any = None,
        ) -> list[str]:
            _, objects, extra, pp_opts, build = compiler._setup_compile(
                output_dir, macros, include_dirs, sources, depends, extra_postargs
            )
            cc_args = compiler._get_cc_args(pp_opts, debug, extra_preargs)

            def one(obj: str) -> None:
                src, ext = build[obj]
                made = Path(obj).stat().st_mtime if Path(obj).exists() else 0.0
                if self.force or made < max(newest_header, Path(src).stat().st_mtime):
                    compiler._compile(obj, src, ext, cc_args, extra, pp_opts)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(one, objects))
            return list(objects)

        compiler.compile = compile_all
        super().build_extensions()


compile_args, link_args = flags()
extension = Extension(
    "rtcfwd.forwarder._forwarder",
    sources=[PYX, *c_files("**/*.c")],
    include_dirs=["csrc", "csrc/include"],
    depends=c_files("**/*.h"),
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(
    cmdclass={"build_ext": ParallelBuildExt},
    ext_modules=[]
    if os.environ.get("RTCFWD_NO_EXTENSION")
    else cythonize([extension], language_level=3, build_dir="build/cython"),
)

"""Real conda packages and a real base image, made from Debian packages and PyPI wheels.

Only the Python standard library is used; outside programs are apt-get, pip, patchelf and zstd.
The way of the data: `download` brings .deb and .whl files, `debs` and `wheels` read them, `recipes`
and `python_recipe` turn them into conda packages, `conda` writes those, `workspaces` writes what uses
them. `base` and `layout` make the base image. Everything in between is a `files.Tree`.
"""
